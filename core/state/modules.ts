/** The kinds of state that an instance's OS state is made of. A literal list: replicas of one version have the same. */
import { files } from "../files/module/files.ts";
import type { StateModule } from "./module.ts";
import { kv } from "./modules/kv.ts";
import { restoreModule } from "./modules/restore.ts";
import { views } from "./modules/views.ts";

const kept: readonly StateModule[] = [kv, views, files];
export const modules: readonly StateModule[] = [...kept, restoreModule(kept)];
