/**
 * Notifications between kernels. At most one of each source to each destination is under way, and what is notified
 * meanwhile is counted and follows, so that they cost a counter however many there are.
 *
 * Each has a number from the counter of its source's calls, and is sent again with it until the destination's kernel
 * has said that it knows; the destination remembers the last number of each source, also where it moves, so that it
 * counts each once. A backup that takes over an endpoint does not know what its predecessor knew, and may be notified of
 * it again.
 */
import { notifiersKept } from "../limits.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import type { Outlet } from "./outlet.ts";
import type { Proc } from "./proc.ts";
import type { KernelId } from "./view.ts";

export class Notice {
  readonly source: Endpoint;
  /** Of the source: it may have ended when this is sent. */
  readonly group: number;
  number: number;
  count: number;
  /** It has been sent once, so that it stays as it is. */
  wasSent = false;
  /** It is on its way, or there. */
  isSent = false;
  /** What follows: its number, and how often. */
  nextNumber = 0;
  nextCount = 0;

  constructor(source: Endpoint, group: number, number: number, count: number) {
    this.source = source;
    this.group = group;
    this.number = number;
    this.count = count;
  }

  /** The other kernel knows. Null: nothing follows. */
  following(): Notice | null {
    const { source, group, nextNumber, nextCount } = this;
    return nextCount > 0 ? new Notice(source, group, nextNumber, nextCount) : null;
  }
}

/** The caller notifies once more. */
export function addNotice(outlet: Outlet, caller: Proc): void {
  const notice = outlet.notices.get(caller.endpoint);
  if (!notice) {
    const first = new Notice(caller.endpoint, caller.group, ++caller.lastCall, 1);
    outlet.notices.set(caller.endpoint, first);
  } else if (!notice.wasSent) notice.count++;
  else {
    if (notice.nextCount++ === 0) notice.nextNumber = ++caller.lastCall;
  }
}

/** To the kernel that has the destination; those of frozen processes wait. */
export function sendNotices(kernel: KernelMachine, outlet: Outlet): void {
  const { number: notify } = messageTable.notify;
  for (const notice of outlet.notices.values()) {
    const { source, group, number, count } = notice;
    const proc = kernel.table.find(source);
    if (notice.isSent || proc?.held) continue;
    if (proc && ((proc.to >>> outlet.group) & 1) === 0) {
      outlet.notices.delete(source);
      continue;
    }
    notice.isSent = true;
    notice.wasSent = true;
    const { kernel: to, since, endpoint } = outlet;
    kernel.transmit(to, [notify, source, number, endpoint, group, since, count]);
  }
}

/** The endpoint is here, and at rest. */
export function deliverNotices(kernel: KernelMachine, outlet: Outlet, to: Proc): void {
  for (const notice of outlet.notices.values()) {
    if (kernel.table.find(notice.source)?.held) continue;
    outlet.notices.delete(notice.source);
    for (let next: Notice | null = notice; next; next = next.following()) {
      acceptNotice(kernel, to, next.source, next.number, next.group, next.count);
    }
  }
}

export function acceptNotice(
  kernel: KernelMachine,
  to: Proc,
  source: Endpoint,
  number: number,
  group: number,
  count: number,
): void {
  const { notified } = to;
  if (number <= (notified.get(source) ?? 0)) return;
  // The longest silent first.
  notified.delete(source);
  if (notified.size >= notifiersKept) notified.delete(notified.keys().next().value!);
  notified.set(source, number);
  if (((to.from >>> group) & 1) === 1) kernel.notifyProc(to, source, count);
}

export function handleNotified(
  kernel: KernelMachine,
  _from: KernelId,
  [, source, destination, number]: KernelMessage<"notified">,
): void {
  const outlet = kernel.peers.outlets.get(destination);
  const notice = outlet?.notices.get(source);
  if (!outlet || notice?.number !== number) return;
  const next = notice.following();
  if (next) outlet.notices.set(source, next);
  else outlet.notices.delete(source);
  kernel.peers.pump(outlet);
}
