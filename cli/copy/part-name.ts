/** Under which name a file is put together, beside its own: another for each version of what it is copied from. */
import { createHash } from "node:crypto";

const nameBytesKept = 200;

/** `.data.db.3fa4c1d2.part` */
export function partName(name: string, version: readonly (string | number | bigint)[]): string {
  const hash = createHash("sha256").update(version.map(String).join("\0")).digest("hex").slice(0, 8);
  let kept = name;
  while (Buffer.byteLength(kept) > nameBytesKept) kept = kept.slice(0, -1);
  return `.${kept.toWellFormed()}.${hash}.part`;
}
