/**
 * A file as memory, so that what another host process writes to it is seen without a system call: for small files that
 * are never made shorter, since to read beyond the end of one ends this host process. Null where that cannot be.
 */
import { mapFile as mapOnBun } from "./bun/map-file.ts";
import { mapFile as mapOnDeno } from "./deno/map-file.ts";
import { isDeno } from "./runtime.ts";

export function mapFile(path: string): Uint8Array | null {
  return isDeno ? mapOnDeno() : mapOnBun(path);
}
