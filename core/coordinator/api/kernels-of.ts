/** What people are told of an instance's kernels: how many there are, and which of them grants the leases. */
import type { InstanceView } from "../../api/views.ts";
import type { Coordinator } from "../context.ts";

/** Undefined where there have never been any, and while the store does not answer: the rest is known without it. */
export async function kernelsOf(
  { kernelLogs, log }: Coordinator,
  { uid, containers }: InstanceView,
): Promise<InstanceView["kernels"]> {
  try {
    const { index, members, grantor } = await kernelLogs.view(uid);
    if (index === 0) return undefined;
    const member = members.get(grantor.kernel);
    if (!member) return { members: members.size, grantor: null };
    const { kernel, node } = member;
    const nodeName = containers.find((container) => container.node === node)?.nodeName ?? node;
    return { members: members.size, grantor: { kernel, node, nodeName, epoch: grantor.epoch } };
  } catch (e) {
    log("warn", `the kernels of instance ${uid} cannot be read: ${String(e)}`);
    return undefined;
  }
}
