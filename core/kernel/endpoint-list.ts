/**
 * The endpoints that a kernel knows of, for people: those of its processes (`local`), those that it would take over
 * (`backup`), and those of other kernels that its processes call (`remote`). There may be 65,536, so they come in pages.
 */
import { infoOf } from "./calls/do-get-info.ts";
import { type Endpoint, formatEndpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { ProcCounters } from "./proc.ts";
import type { KernelId } from "./view.ts";

export interface ListedEndpoint {
  /** As people see it, and as the next page is asked for. */
  endpoint: string;
  id: Endpoint;
  kind: "local" | "backup" | "remote";
  /** The kernel that holds it, as far as this one knows. */
  kernel: KernelId;
  name: string | null;
  moving: boolean;
  /** Messages that its process has not taken: all of them, or of a remote one those of this kernel. */
  waiting: number;
  /** Requests that its process has taken and not answered: likewise. */
  open: number;
  /** Null but for local ones. */
  counters: ProcCounters | null;
}

/** The `max` lowest above `after`; fewer are the last. */
export function listEndpoints(kernel: KernelMachine, after: Endpoint, max: number): ListedEndpoint[] {
  const { table, backups, peers, view } = kernel;
  const ids = new Set<Endpoint>();
  const add = (id: Endpoint) => void (id > after && ids.add(id));
  for (const { endpoint } of table.all()) add(endpoint);
  for (const endpoint of backups.keys()) add(endpoint);
  for (const endpoint of peers.outlets.keys()) add(endpoint);
  const page = Float64Array.from(ids).sort().subarray(0, max);
  const names = namesOf(kernel, new Set(page));
  return Array.from(page, (id): ListedEndpoint => {
    const shown = { endpoint: formatEndpoint(id), id, name: names.get(id) ?? null };
    const proc = table.find(id);
    if (proc) {
      const { waiting, open, moving, counters, name } = infoOf(kernel, proc);
      return {
        ...shown,
        kind: "local",
        kernel: kernel.id,
        name: name ?? shown.name,
        moving,
        waiting,
        open,
        counters,
      };
    }
    const place = { kernel: view.holderOf(id), moving: (view.places.get(id)?.to ?? 0) !== 0 };
    if (backups.has(id)) return { ...shown, ...place, kind: "backup", waiting: 0, open: 0, counters: null };
    const outlet = peers.outlets.get(id)!;
    const waiting = outlet.queue.length + outlet.sent.length;
    return { ...shown, ...place, kind: "remote", waiting, open: outlet.open.length, counters: null };
  });
}

function namesOf({ view }: KernelMachine, of: ReadonlySet<Endpoint>): Map<Endpoint, string> {
  const names = new Map<Endpoint, string>();
  for (const [name, endpoint] of view.names) if (of.has(endpoint)) names.set(endpoint, name);
  return names;
}
