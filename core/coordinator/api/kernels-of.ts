/**
 * What people are told of an instance's kernels: how many there are, and which of them grants the leases. Their View is
 * theirs (where an instance keeps state, it is part of that), so they are asked, and who has read furthest is believed.
 */
import { KernelViewLine } from "../../agent-protocol.ts";
import type { InstanceView } from "../../api/views.ts";
import type { Coordinator } from "../context.ts";
import { linesOf } from "../log-lines.ts";

/** A container that does not answer is not waited for longer: the rest of an instance's view is known without it. */
const answerMs = 500;

/** Undefined where no kernel answers. */
export async function kernelsOf(
  { sessions }: Pick<Coordinator, "sessions">,
  { uid, containers }: InstanceView,
): Promise<InstanceView["kernels"]> {
  const asked = containers.filter(({ kernel }) => kernel && kernel.kernel !== 0 && kernel.state !== "exited");
  const ask = async (node: string): Promise<KernelViewLine | null> => {
    const signal = AbortSignal.timeout(answerMs);
    const query = { uid, what: "view", endpoint: 0, max: 1 } as const;
    for await (const line of linesOf(sessions.kernelStream(node, query, signal), signal)) {
      return KernelViewLine.parse(JSON.parse(line));
    }
    return null;
  };
  const answers = await Promise.all(asked.map(({ node }) => ask(node).catch(() => null)));
  const views = answers.filter((view) => view !== null).sort((a, b) => b.index - a.index);
  const view = views[0];
  if (!view) return undefined;
  const { kernel, epoch, node } = view.grantor;
  if (kernel === 0) return { members: view.members, grantor: null };
  const nodeName = containers.find((container) => container.node === node)?.nodeName ?? node;
  return { members: view.members, grantor: { kernel, node, nodeName, epoch } };
}
