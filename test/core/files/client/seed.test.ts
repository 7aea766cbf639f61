/** A volume that begins with the files of an image: once, by however many containers, and whichever of them die. */
import { afterEach, expect, test, setDefaultTimeout } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kinds } from "../../../../core/files/attributes.ts";
import type { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import { type LoneVolume, openLone } from "../../../../core/files/lone.ts";
import { openPath } from "../../../../core/files/paths.ts";
import { PathCalls } from "../../../../core/files/path-calls.ts";
import { blobPath } from "../../../../core/image/blob-file.ts";
import { BlobReader } from "../../../../core/image/blob-reader.ts";
import { openImage } from "../../../../core/image/reader.ts";
import { seedEntriesMax } from "../../../../core/limits.ts";
import type { ImageReader } from "../../../../core/vos.ts";
import { type Tree, writeImage } from "../../container/test-image.ts";

/** Others may need the processor. */
setDefaultTimeout(60_000);

const many: Tree = Object.fromEntries(
  Array.from({ length: 3 * seedEntriesMax }, (_, i) => [`/dir-${i % 7}/file-${i}.txt`, `content ${i}`]),
);
/** Of each batch. */
const some = Object.keys(many).filter((_path, i) => i % 50 === 0);
const opened: LoneVolume[] = [];
afterEach(async () => {
  for (const volume of opened.splice(0)) await volume.close();
}, 60_000);

async function imageOf(tree: Tree): Promise<{ blobDir: string; image: ImageReader }> {
  const blobDir = mkdtempSync(join(tmpdir(), "dvs-"));
  const digest = await writeImage(blobDir, tree);
  return {
    blobDir,
    image: await openImage({ blobDir, digest, onBadBlob: () => Promise.reject(new Error("bad")) }),
  };
}

function volumeOn(blobDir: string): LoneVolume {
  const blobs = new BlobReader(blobDir);
  const volume = openLone({ readBlob: (...of) => blobs.read(...of) });
  opened.push(volume);
  return volume;
}

async function read(files: VolumeClient, path: string): Promise<string> {
  const { file, attributes } = await openPath(files, path, { read: true });
  const bytes = await file.read(0, attributes.size);
  await file.close();
  return Buffer.from(bytes).toString();
}

async function contentOf(files: VolumeClient, paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => read(files, path)));
}

test("five containers that boot at once come to one tree, in which nothing is missing or twice", async () => {
  const { blobDir, image } = await imageOf(many);
  const volume = volumeOn(blobDir);
  const clients = Array.from({ length: 5 }, (_, i) => volume.client(`c${i}`));
  await Promise.all(clients.map((client) => client.seed(image)));
  expect(await contentOf(clients[0]!, some)).toEqual(some.map((path) => many[path] as string));
  // The root, seven directories and the files.
  expect((await clients[0]!.usage()).inodes).toBe(1 + 7 + 3 * seedEntriesMax);
});

test("what a container has begun with before it died is ended by the next", async () => {
  const { blobDir, image } = await imageOf(many);
  const volume = volumeOn(blobDir);
  const paths = [...image.paths()].slice(0, 10);
  const hex = image.digest.slice(7);
  const begun = paths.map((path) => {
    const { type, mode, size, digest } = image.entry(path)!;
    const kind = type === "directory" ? kinds.directory : kinds.file;
    return [path, kind | mode, size, digest.slice(7)] as const;
  });
  volume.operate([19, hex, 0, begun, 0]);
  const client = volume.client("next");
  await client.seed(image);
  expect(await contentOf(client, some)).toEqual(some.map((path) => many[path] as string));
  expect((await client.usage()).inodes).toBe(1 + 7 + 3 * seedEntriesMax);
});

test("what was changed stays as it is, with the same image and with another", async () => {
  const { blobDir, image } = await imageOf({ "/a": "a", "/b": "b", "/c": { link: "a" } });
  const volume = volumeOn(blobDir);
  const client = volume.client("c");
  await client.seed(image);
  const { file } = await openPath(client, "/a", { write: true });
  await file.write(1, Buffer.from("dded"));
  await file.close();
  await new PathCalls(client).unlink("/b");
  await client.seed(image);
  const other = await imageOf({ "/a": "other", "/d": "d" });
  await client.seed(other.image);
  expect((await new PathCalls(client).list("/")).map(({ name }) => name)).toEqual(["a", "c"]);
  expect(await read(client, "/a")).toBe("added");
  expect(await read(client, "/c")).toBe("added");
});

test("bytes that the replica's node has not got are read from this one's image, with what was written since", async () => {
  const { blobDir, image } = await imageOf({ "/a": "0123456789" });
  const blobs = new BlobReader(blobDir);
  const volume = openLone({ readBlob: () => Promise.reject(new Error("not here")) });
  opened.push(volume);
  // As a replica has it, whose others have not got it either.
  Object.assign(volume.blocks, { repair: () => Promise.reject(new Error("nobody has it")) });
  const far = volume.client("far");
  const own = volume.client("own", { readBlob: (...of) => blobs.read(...of) });
  await own.seed(image);
  expect(await read(far, "/a").catch((e: unknown) => (e as { code: string }).code)).toBe("EIO");
  expect(await read(own, "/a")).toBe("0123456789");
  const { file } = await openPath(own, "/a", { read: true, write: true });
  await file.write(3, Buffer.from("xy"));
  await file.truncate(12);
  expect(Buffer.from(await file.read(2, 100)).toString()).toBe("2xy56789\0\0");
  await file.close();
});

test("a blob that is damaged or gone is never read", async () => {
  const { blobDir, image } = await imageOf({ "/a": "right", "/b": "gone" });
  const blobs = new BlobReader(blobDir);
  const [a, b] = ["/a", "/b"].map((path) => image.entry(path)!.digest) as [string, string];
  expect(Buffer.from(await blobs.read(a.slice(7), 1, 3)).toString()).toBe("igh");
  await Bun.write(blobPath(blobDir, a), "wrong");
  rmSync(blobPath(blobDir, b));
  const codes = await Promise.all(
    [a, b].map((digest) =>
      blobs.read(digest.slice(7), 0, 4).catch((e: unknown) => (e as { code: string }).code),
    ),
  );
  expect(codes).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
});
