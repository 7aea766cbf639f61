/** The volume's module as a process beside a replica reads it: bytes not by it, since only the replica mends what is damaged. */
import type { OpenModule, StateModule } from "../../state/module.ts";
import { files } from "../module/files.ts";

export const localModule: StateModule = {
  ...files,
  open(tables, blocks): OpenModule {
    const module = files.open(tables, blocks);
    const keysOf = module.keysOf.bind(module);
    module.keysOf = (query) => (Array.isArray(query) && query[0] === "read" ? null : keysOf(query));
    return module;
  },
};
