/** What requests' conditions are compared with. */
import { type Attributes, isDirectory } from "../../../core/files/attributes.ts";
import type { TagOf } from "../volume/tag.ts";
import type { Current } from "./preconditions.ts";

/** Null: nothing that has an entity tag is there. */
export function currentOf(found: Attributes | null, tagOf: TagOf): Current | null {
  if (!found || isDirectory(found)) return null;
  return { etag: `"${tagOf(found)}"`, modifiedMs: found.mtime.seconds * 1000 };
}
