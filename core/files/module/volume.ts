/** The parts of a volume, as operations and queries use them. */
import type { ModuleBlocks, StateTables } from "../../state/module.ts";
import { kinds } from "../attributes.ts";
import { rootIno } from "../file-system.ts";
import { Blobs } from "./blobs.ts";
import { Changes } from "./changes.ts";
import { Clients } from "./clients.ts";
import { Contents } from "./contents.ts";
import { Counters, firstCounters } from "./counters.ts";
import { Entries } from "./entries.ts";
import { Extents } from "./extents.ts";
import { type Inode, Inodes } from "./inodes.ts";
import { Locks } from "./locks.ts";
import { Offsets } from "./offsets.ts";
import { Opens } from "./opens.ts";
import { Reaper } from "./reaper.ts";
import { Seeds } from "./seeds.ts";
import { Segments } from "./segments.ts";
import { createTable, type Table, tables as schema } from "./tables.ts";

export interface Volume {
  readonly counters: Counters;
  readonly inodes: Inodes;
  readonly entries: Entries;
  readonly extents: Extents;
  readonly segments: Segments;
  readonly blobs: Blobs;
  readonly contents: Contents;
  readonly opens: Opens;
  readonly locks: Locks;
  readonly offsets: Offsets;
  readonly clients: Clients;
  readonly seeds: Seeds;
  readonly changes: Changes;
  readonly reaper: Reaper;
}

export function createVolume(tables: StateTables): void {
  for (const table of Object.values<Table>(schema)) tables.exec(createTable(table));
  beginVolume(tables);
}

/** The first rows of an empty one. */
export function beginVolume(tables: StateTables): void {
  tables.exec(firstCounters);
  // Its times are those of nothing: the same on each replica.
  tables.exec(`INSERT INTO files_inode VALUES
    (${rootIno}, ${kinds.directory | 0o755}, 2, 0, 0, 4096, 0, 0, 0, 0, 0, 0, 0, 0, ${rootIno}, 0, NULL)`);
}

export function openVolume(tables: StateTables, blocks: ModuleBlocks | undefined): Volume {
  const counters = new Counters(tables);
  const changes = new Changes();
  const inodes = new Inodes(tables, changes);
  const extents = new Extents(tables);
  const segments = new Segments(tables, counters, blocks);
  const contents = new Contents(tables, counters, extents, segments);
  const opens = new Opens(tables, counters);
  const locks = new Locks(tables, counters);
  const offsets = new Offsets(tables);
  const parts = { counters, inodes, extents, segments, contents, opens, locks, offsets };
  return {
    ...parts,
    changes,
    entries: new Entries(tables),
    blobs: new Blobs(tables),
    clients: new Clients(tables, parts),
    seeds: new Seeds(tables),
    reaper: new Reaper(tables, parts),
  };
}

/** Counts what an inode takes more than before. */
export function useBytes({ opens, counters }: Volume, inode: Inode, bytes: number): void {
  if (bytes !== 0 && opens.isCounted(inode)) counters.use(bytes, 0);
}
