/** Copies a file, or a directory with all that is in it, to a name that nobody is served. */
import { type Attributes, isDirectory, isSymlink, kindOf, kinds } from "../../../core/files/attributes.ts";
import type { FileSystem, OpenFile } from "../../../core/files/file-system.ts";
import type { TagOf } from "../volume/tag.ts";
import { VolumeFile } from "../volume/volume-file.ts";

export const directoryMode = 0o755;
export const fileMode = 0o644;
const entriesAtOnce = 256;

export async function copyFile(
  fs: FileSystem,
  attributes: Attributes,
  into: OpenFile,
  tagOf: TagOf,
): Promise<void> {
  const place = { parent: 0, name: "" };
  const source = new VolumeFile(fs, `inode ${attributes.ino}`, attributes, { tag: tagOf(attributes), place });
  let at = 0;
  for await (const piece of source.stream(0, source.size) as unknown as AsyncIterable<Uint8Array>) {
    await into.write(at, piece);
    at += piece.length;
  }
}

/** What is in the directory `from`, into the empty one `into`. Links stay what they are. */
export async function copyContent(fs: FileSystem, from: number, into: number, tagOf: TagOf): Promise<void> {
  for (let after = 0; ;) {
    const entries = await fs.entries(from, after, entriesAtOnce, true);
    if (entries.length === 0) return;
    after = entries.at(-1)!.cookie;
    for (const { name, ino, attributes } of entries) {
      const found = attributes ?? (await fs.attributes(ino));
      if (isDirectory(found)) {
        const made = await fs.makeDirectory(into, name, directoryMode);
        await copyContent(fs, ino, made.ino, tagOf);
      } else if (isSymlink(found)) {
        await fs.makeSymlink(into, name, await fs.readLink(ino));
      } else if (kindOf(found) === kinds.file) {
        const { file } = await fs.create(into, name, fileMode, { write: true, exclusive: true });
        try {
          await copyFile(fs, found, file, tagOf);
        } finally {
          await file.close();
        }
      }
    }
  }
}
