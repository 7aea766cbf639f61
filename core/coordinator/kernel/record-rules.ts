/**
 * Who may propose which record. A node speaks for its own kernels only: those of the View that are on it. Another
 * node's kernel is removed by the instance's grantor alone, once its lease has run out (core/kernel/membership), and
 * with an exit certificate by its own node alone, which has seen its process gone.
 *
 * What a node proposes in good faith and too late (a move that was aborted meanwhile) is let through: a record that
 * does not fit the View changes nothing.
 */
import { DvsError } from "../../errors.ts";
import type { ViewMachine } from "../../kernel/view-machine.ts";
import type { KernelId, KernelRecord } from "../../kernel/view.ts";

export interface Proposer {
  node: string;
  /** Whether a container of the instance is wanted there. */
  placed: boolean;
}

/** Throws FORBIDDEN. */
export function checkProposer(record: KernelRecord, { node, placed }: Proposer, view: ViewMachine): void {
  const onNode = (kernel: KernelId) => view.members.get(kernel)?.node === node;
  const need = (allowed: boolean, why: string) => {
    if (!allowed) throw new DvsError("FORBIDDEN", `Node ${node} may not propose ${record.type}: ${why}.`);
  };
  /** Kernels that have gone are nobody's: what is said of them changes nothing. */
  const needOwn = (kernel: KernelId) =>
    need(onNode(kernel) || !view.members.has(kernel), `kernel ${kernel} is on another node`);
  if (record.type !== "join") {
    const isMember = [...view.members.values()].some((member) => member.node === node);
    need(placed || isMember, "it has no container of this instance");
  }
  switch (record.type) {
    case "join":
      need(placed, "it has no container of this instance");
      return need(record.member.node === node, `the member names node ${record.member.node}`);
    case "remove": {
      if (record.reason !== "lease") return needOwn(record.kernel);
      const grantor = view.grantor.kernel;
      return need(onNode(grantor), `the grantor of leases is kernel ${grantor}, which is not on it`);
    }
    case "grantor":
    case "slots":
    case "name":
    case "backup":
    case "ended":
      return needOwn(record.kernel);
    case "moving":
      return needOwn(record.from);
    case "unname":
    case "aborted":
      return needOwn(view.holderOf(record.endpoint));
    case "moved":
      return needOwn(view.places.get(record.endpoint)?.to ?? 0);
  }
}
