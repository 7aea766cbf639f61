/**
 * A kernel with links to the other kernels of its instance: what a container runs, and a benchmark. Its proxies follow
 * the View: a member has one from the moment in which its join was read.
 */
import { uptimeMs } from "../platform/uptime.ts";
import { Kernel, type KernelHost } from "./kernel.ts";
import type { KernelMessage } from "./messages.ts";
import { type Links, type LinksOptions, openLinks } from "./proxy/links.ts";
import { protocolVersion, protocolVersionMin } from "./proxy/version.ts";
import type { KernelId, Member, OrderedRecord, RecordLog } from "./view.ts";

export interface LinkedKernelStart {
  /** The rest of the member is known when its links are open. */
  member: Pick<Member, "node" | "cpu" | "host" | "incarnation">;
  links: Pick<LinksOptions, "instance" | "unix" | "tls" | "report">;
  log: RecordLog;
  host?: Omit<KernelHost, "transmit">;
  /** Sees each message that goes to another kernel or has come from it. */
  watch?: (direction: "to" | "from", peer: KernelId, message: KernelMessage) => void;
}

export interface LinkedKernel {
  readonly kernel: Kernel;
  readonly links: Links;
  /** As Kernel.run. */
  run(): Promise<void>;
}

/** Rejects with the system's error when it cannot listen. */
export async function linkKernel(start: LinkedKernelStart): Promise<LinkedKernel> {
  const { member, watch } = start;
  const links = await openLinks({
    ...start.links,
    incarnation: member.incarnation,
    // A lease that ran out while nobody looked has to be noticed before anything else happens.
    woken: () => kernel.tick(),
    deliver(from, message) {
      watch?.("from", from, message);
      kernel.machine.arrived(from, message);
    },
    writable: (peer, channel) => kernel.machine.writable(peer, channel),
  });
  const kernel = new Kernel({
    member: {
      ...member,
      unix: start.links.unix.path,
      port: links.port,
      protocol: protocolVersion,
      protocolMin: protocolVersionMin,
    },
    log: followed(start.log, () => followView(kernel, links)),
    uptimeMs,
    host: {
      ...start.host,
      transmit(to, message) {
        watch?.("to", to, message);
        return links.proxies.transmit(to, message);
      },
    },
  });
  return { kernel, links, run: () => kernel.run() };
}

/** The same records; `changed` is called when one that changes the members has been applied. */
function followed(log: RecordLog, changed: () => void): RecordLog {
  const follow = async function* (signal: AbortSignal) {
    for await (const entry of log.follow(signal)) {
      yield entry;
      // It has been applied: the next was asked for.
      if ("snapshot" in entry || changesMembers(entry)) changed();
    }
  };
  return { propose: (id, record) => log.propose(id, record), follow };
}

function changesMembers({ record }: OrderedRecord): boolean {
  return record.type === "join" || record.type === "remove";
}

function followView(kernel: Kernel, { proxies }: Links): void {
  const { view, id } = kernel.machine;
  if (id !== 0 && proxies.self.kernel === 0) proxies.join(id);
  // Before this kernel has a number it cannot say who it is.
  if (id !== 0) for (const member of view.members.values()) proxies.add(member);
  for (const peer of [...proxies.peers.keys()]) if (!view.members.has(peer)) proxies.remove(peer);
}
