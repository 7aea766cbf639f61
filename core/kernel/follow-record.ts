/** What follows for a kernel from a record of the View, which that has applied: here each part hears of it. */
import type { Call } from "./call.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { handleRemoved } from "./removal.ts";
import type { ViewChange } from "./view-change.ts";

/** `lost`: messages of a kernel that was removed, which had not been taken by then. */
export function followRecord(kernel: KernelMachine, change: ViewChange, lost: readonly Call[]): void {
  const { backlog, bindings, moves } = kernel;
  switch (change.type) {
    case "joined": {
      const { kernel: joined } = change.member;
      if (joined === kernel.id) bindings.maybeBind();
      for (const message of backlog.takeEarly(joined)) kernel.handle(joined, message);
      return;
    }
    case "removed":
      backlog.takeEarly(change.kernel);
      handleRemoved(kernel, change, lost);
      return;
    case "slots":
      if (change.kernel !== kernel.id) return;
      kernel.table.addRange(change.range);
      bindings.maybeBind();
      return;
    case "named":
      bindings.named(change.name, change.endpoint);
      return;
    case "moving":
      moves.handleMoving(change);
      return;
    case "moved":
      moves.handleMoved(change);
      return;
    case "aborted":
      moves.handleAborted(change);
      return;
    case "ended":
      if (change.promoted) moves.handlePromoted(change.promoted);
      if (change.left) moves.handleLeft(change.left);
      return;
  }
}
