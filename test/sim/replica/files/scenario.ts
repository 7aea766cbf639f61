/** One run of a simulated instance whose replicas hold files, under the faults of the replicas' own suite. */
import { Simulation } from "../../harness/simulation.ts";
import { strikes } from "../faults.ts";
import { runLoad } from "../scenario.ts";
import { FilesLoad } from "./files-load.ts";

const operations = [
  ...["create", "link", "unlink", "removeDirectory", "rename", "setAttributes", "write"],
  ...["open", "release", "lock", "cancelLock", "reap", "move"],
];
const queries = ["attributes", "lookup", "entries", "link", "read", "lockedBy", "path"];

/** What each set of seeds must have met at least once. */
export const filesHardCases: string[] = [
  ...Object.keys(strikes),
  ...operations.map((name) => `operation:${name}`),
  ...queries.map((name) => `query:${name}`),
  ...["create", "rename", "lock", "removeDirectory"].map((name) => `operation:${name}, refused`),
  ...["operation:changed meanwhile", "client:unknown outcome", "answer:from a session"],
  ...["read:backup", "read:primary", "read:beside"],
  ...["role:learner", "configuration:promotion", "configuration:removal", "configuration:join"],
  ...["restart:amnesiac", "restart:from snapshot", "snapshot:installed", "log:torn tail", "log:cut"],
  ...["segment:removed", "segment:bytes received", "segment:ranges checked", "state:full"],
  ...["control:rolled back", "loss:records"],
];

export function runFiles(seed: number, options: { sink?: (line: string) => void } = {}): Simulation {
  const sim = new Simulation(seed, options.sink);
  let files: FilesLoad | null = null;
  try {
    runLoad(sim, (world) => (files = new FilesLoad(world)));
  } finally {
    (files as FilesLoad | null)?.close();
  }
  return sim;
}
