/** The module of files on replicas with disks that damage it. */
import { afterEach, expect, test } from "bun:test";
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import { files } from "../../../core/files/module/files.ts";
import type { FileOperation, FileResult } from "../../../core/files/operations.ts";
import type { WriteOutcome } from "../../../core/replica/sink.ts";
import { decodeResult } from "../../../core/state/result.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { type Member, pieceBytes, Replicas, until } from "./replicas.ts";

const replicas = new Replicas(files, 2);
afterEach(() => replicas.end());

async function operate({ host }: Member, operation: FileOperation): Promise<FileResult> {
  const request = { client: "", sequence: 0, ackedBelow: 0, module: "files" };
  const encoded = host.module("files").encode(operation);
  const outcome = await new Promise<WriteOutcome>((done) =>
    host.write({ ...request, operation: encoded }, done),
  );
  if (outcome.type !== "ok") throw new Error(outcome.type);
  const result = decodeResult(outcome.result);
  return result.ok ? (result.value as FileResult) : [result.message];
}

test("bytes of files that a disk has damaged or cut off are read all the same, and scrubbing mends the rest", async () => {
  const a = await replicas.start("a");
  await until(() => a.host.machine.role === "primary");
  const b = await replicas.start("b");
  await until(() => replicas.store.configuration!.inSync.length === 2);
  const created = await operate(a, [1, [0, 0, []], 1, "file", 0o100644, "", 0, 1]);
  expect(created[0]).toBe("");
  const ino = (created[1] as number[])[0]!;
  const block = 200_000;
  for (let i = 0; i < 10; i++) {
    const written = await operate(a, [7, [0, 0, []], ino, i * block, pieceBytes(block, i)]);
    expect(written[0]).toBe("");
  }
  await until(() => b.host.machine.status.appliedIndex === a.host.machine.status.appliedIndex);
  await b.host.snapshotNow();
  await a.host.snapshotNow();
  const path = ({ dir }: Member) => join(blocksDir(dir), segmentName(1));
  const fd = openSync(path(b), "r+");
  writeSync(fd, new Uint8Array(100), 0, 100, 3 * block);
  writeSync(fd, new Uint8Array(100), 0, 100, 6 * block);
  closeSync(fd);
  truncateSync(path(b), 8 * block);
  const read = (i: number) =>
    b.host.module("files").read(["read", ino, i * block, block]) as FileResult | Promise<FileResult>;
  for (const i of [0, 3, 9]) expect(await read(i)).toEqual(["", pieceBytes(block, i)]);
  const found = await b.host.blocks.scrub();
  expect(found.damaged).toBeGreaterThan(0);
  expect(found.repaired).toBe(found.damaged);
  expect(readFileSync(path(b)).equals(readFileSync(path(a)))).toBe(true);
  for (let i = 0; i < 10; i++) expect(await read(i)).toEqual(["", pieceBytes(block, i)]);
}, 20_000);
