import { expect, setDefaultTimeout, test } from "bun:test";
import type { LocalFiles } from "../../../../core/files/client/local-files.ts";
import type { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import type { FileError } from "../../../../core/files/errno.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import { labBesideForFile } from "./volume-lab.ts";

// Each look waits for a lease, which a loaded machine loses.
setDefaultTimeout(60_000);

/** Far from the replica, as it were. */
let far: VolumeClient;
let near: VolumeClient;
let local: LocalFiles;
labBesideForFile((beside) => {
  const { lab } = beside;
  ({ far, local } = beside);
  near = lab.volume("near", () => local);
});

/** Parts of three, as far as the listing goes. */
async function listed(ino: number): Promise<string[]> {
  const names: string[] = [];
  for (let after = 0; ;) {
    const some = await near.entries(ino, after, 3);
    if (some.length === 0) return names.sort();
    names.push(...some.map(({ name }) => name));
    after = some.at(-1)!.cookie;
  }
}

test("a directory is listed without a message, also what was listed before", async () => {
  const { ino } = await far.makeDirectory(rootIno, "quiet", 0o755);
  for (const name of ["a", "b"]) await far.makeDirectory(ino, name, 0o755);
  const list = async () => {
    for (;;) {
      const found = local.entries(ino, 0, 10);
      if (found) return found;
      await Bun.sleep(1);
    }
  };
  const first = await list();
  expect(first.map(({ name }) => name).sort()).toEqual(["a", "b"]);
  // What somebody does to the array is not the next one's.
  first.pop();
  expect(await list()).toHaveLength(2);
});

test("what was acknowledged is in the next listing, however often it was listed before", async () => {
  const { ino } = await far.makeDirectory(rootIno, "busy", 0o755);
  const expected = new Set<string>();
  for (let round = 0; round < 60; round++) {
    const name = `n${round % 7}`;
    if (!expected.has(name)) {
      await far.makeDirectory(ino, name, 0o755);
      expected.add(name);
    } else if (round % 2 === 0) {
      await far.rename(ino, name, ino, `${name}-moved`);
      expected.delete(name);
      expected.add(`${name}-moved`);
    } else {
      await far.removeDirectory(ino, name);
      expected.delete(name);
    }
    // Also where nobody has looked while it was under way.
    if (round % 10 < 3) await Bun.sleep(20);
    expect(await listed(ino)).toEqual([...expected].sort());
  }
});

test("a directory that was removed is not listed any more, and a file never", async () => {
  const { ino } = await far.makeDirectory(rootIno, "gone", 0o755);
  expect(await listed(ino)).toEqual([]);
  await Bun.sleep(20);
  expect(await listed(ino)).toEqual([]);
  await far.removeDirectory(rootIno, "gone");
  const code = (e: unknown) => (e as FileError).code;
  const refused = await near.entries(ino, 0, 3).then(() => "", code);
  expect(refused === "ESTALE" || refused === "").toBe(true);
  const { file } = await far.create(rootIno, "file", 0o644, { write: true });
  expect(await near.entries(file.ino, 0, 3).catch(code)).toBe("ENOTDIR");
  await Bun.sleep(20);
  expect(await near.entries(file.ino, 0, 3).catch(code)).toBe("ENOTDIR");
  await file.close();
});
