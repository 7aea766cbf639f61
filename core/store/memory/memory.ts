/**
 * The store in memory, for simulations and tests: deterministic, since time is the caller's clock and every write
 * takes effect before its call returns. All is lost with the process.
 */
import { systemClock, type Clock } from "../clock.ts";
import { enforce } from "../enforce.ts";
import { LocalStore } from "../local/local-store.ts";
import type { Store } from "../store.ts";
import { MemoryTable } from "./memory-table.ts";

export function openMemoryStore(options: { clock?: Clock } = {}): Store {
  const { clock = systemClock } = options;
  return enforce(new LocalStore(new MemoryTable(), { clock, schedule: (commit) => commit() }));
}
