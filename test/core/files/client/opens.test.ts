import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { Opens } from "../../../../core/files/client/opens.ts";
import type { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import { FileError } from "../../../../core/files/errno.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import type { FileOperation } from "../../../../core/files/operations.ts";
import { DvsError } from "../../../../core/errors.ts";
import { openToldMs } from "../../../../core/limits.ts";
import { VolumeLab } from "./volume-lab.ts";

/** What is said to the replicas, which answer as the test says. */
function listening(answer: (operation: FileOperation) => Promise<unknown> = () => Promise.resolve([])) {
  const said: FileOperation[] = [];
  const opens = new Opens((operation) => {
    said.push(operation);
    return answer(operation);
  });
  return { opens, said };
}
const until = async (holds: () => boolean) => {
  while (!holds()) await Bun.sleep(5);
};

test("a file that is closed soon is told to nobody", async () => {
  const { opens, said } = listening();
  await opens.take(7);
  await opens.take(7);
  opens.give(7);
  opens.give(7);
  await Bun.sleep(openToldMs + 100);
  expect(said).toEqual([]);
  expect(opens.size).toBe(0);
});

test("one that stays open is told once, and its last close", async () => {
  const { opens, said } = listening();
  await opens.take(7);
  await opens.take(7);
  await until(() => said.length > 0);
  opens.give(7);
  await Bun.sleep(20);
  expect(said).toEqual([[8, 7]]);
  opens.give(7);
  await until(() => said.length > 1);
  expect(said).toEqual([
    [8, 7],
    [9, [7]],
  ]);
});

test("one that is opened again before its close was told needs neither", async () => {
  const { opens, said } = listening();
  opens.taken(7);
  opens.give(7);
  await opens.take(7);
  await Bun.sleep(openToldMs + 300);
  expect(said).toEqual([]);
  opens.give(7);
  await opens.close();
  expect(said).toEqual([[9, [7]]]);
});

test("one that nothing else keeps is told before it is used", async () => {
  const { opens, said } = listening();
  await opens.take(7, true);
  expect(said).toEqual([[8, 7]]);
  const gone = listening(() => Promise.reject(new FileError("ESTALE", "it is gone")));
  const error: unknown = await gone.opens.take(8, true).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "ESTALE" });
  expect(gone.opens.size).toBe(0);
});

test("an open that could not be told is told again, after a close that is under way", async () => {
  const released = Promise.withResolvers<unknown>();
  let refusals = 1;
  const { opens, said } = listening((operation) => {
    if (operation[0] === 9) return released.promise;
    if (refusals-- > 0) return Promise.reject(new DvsError("UNAVAILABLE", "no primary"));
    return Promise.resolve([]);
  });
  opens.taken(7);
  opens.give(7);
  await until(() => said.length === 1);
  const told = opens.take(7, true);
  await Bun.sleep(20);
  expect(said).toEqual([[9, [7]]]);
  released.resolve([]);
  await told;
  expect(said).toEqual([
    [9, [7]],
    [8, 7],
    [8, 7],
  ]);
});

test("many closes are told at a time", async () => {
  const { opens, said } = listening();
  for (let ino = 1; ino <= 1_500; ino++) opens.taken(ino);
  for (let ino = 1; ino <= 1_500; ino++) opens.give(ino);
  await opens.close();
  const released = said.flatMap((operation) => (operation[0] === 9 ? [...operation[1]] : []));
  expect(said.length).toBeLessThan(5);
  expect(released.length).toBe(1_500);
});

setDefaultTimeout(60_000);
let lab: VolumeLab;
let volume: VolumeClient;
beforeAll(async () => {
  lab = await VolumeLab.open();
  volume = lab.volume("client-a");
});
afterAll(() => lab.close());

test("a file stays while it is open, and a client that is gone has nothing open", async () => {
  const { file, attributes } = await volume.create(rootIno, "kept", 0o644, { read: true, write: true });
  await file.write(0, new TextEncoder().encode("still here"));
  const other = lab.volume("client-b");
  const theirs = await other.open(attributes.ino, { read: true });
  await other.unlink(rootIno, "kept");
  expect(await file.attributes()).toMatchObject({ nlink: 0, size: 10 });
  expect(new TextDecoder().decode(await theirs.read(0, 100))).toBe("still here");
  await lab.removeClient("client-a");
  expect(new TextDecoder().decode(await theirs.read(0, 100))).toBe("still here");
});
