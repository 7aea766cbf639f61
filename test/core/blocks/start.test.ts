/** Starts with much in segments, and disks without room for more. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import { type LogFiles, NoSpace } from "../../../core/log/log-files.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { MiB } from "../../../core/limits.ts";
import { operate, pieceBytes, readAll, readPiece, Replicas, until } from "./replicas.ts";

let replicas: Replicas;
beforeEach(() => {
  replicas = new Replicas(64 * MiB);
});
afterEach(() => replicas.end());

test("a start with 20 GiB in segments opens and reads none of them", async () => {
  const first = await replicas.start("a");
  await until(() => first.host.machine.role === "primary");
  await operate(first, { append: pieceBytes(1_000, 1) });
  await first.host.snapshotNow();
  await replicas.stop(first);
  const db = new DatabaseSync(join(first.dir, "state.db"));
  for (let segment = 2; segment <= 320; segment++) {
    const fd = openSync(join(blocksDir(first.dir), segmentName(segment)), "w");
    ftruncateSync(fd, 64 * MiB);
    closeSync(fd);
    db.prepare("INSERT INTO segment VALUES (?, ?)").run(segment, 64 * MiB);
  }
  db.close();
  const opened: string[] = [];
  const member = await replicas.start("a", first.dir, (files) => ({
    ...files,
    open: (name, how, done) => {
      opened.push(name);
      files.open(name, how, done);
    },
  }));
  await until(() => member.host.machine.role === "primary");
  expect(opened).toEqual([]);
  expect(await readAll(member)).toEqual([pieceBytes(1_000, 1)]);
  expect(opened).toEqual([segmentName(1)]);
});

test("while the disk has no room for blocks writes are refused and reads go on; then all that was taken is there", async () => {
  let isFull = false;
  const member = await replicas.start("a", undefined, (files: LogFiles) => ({
    ...files,
    open: (name, how, done) =>
      files.open(name, how, (error, file) => {
        if (file) {
          const write = file.write.bind(file);
          file.write = (blocks, position, end) =>
            isFull ? end(new NoSpace("ENOSPC")) : write(blocks, position, end);
        }
        done(error, file);
      }),
  }));
  const { host } = member;
  await until(() => host.machine.role === "primary");
  const before = await operate(member, { append: pieceBytes(100_000, 1) });
  isFull = true;
  const taken = await operate(member, { append: pieceBytes(100_000, 2) });
  await until(() => host.machine.isFull);
  const encoded = host.module("pieces").encode({ append: pieceBytes(10, 3) });
  const request = { client: "", sequence: 0, ackedBelow: 0, module: "pieces", operation: encoded };
  const refused = await new Promise((done) => host.write(request, done));
  expect(refused).toMatchObject({ type: "refused", reason: "disk-full" });
  expect(await readPiece(member, before)).toEqual(pieceBytes(100_000, 1));
  expect(await readPiece(member, taken)).toEqual(pieceBytes(100_000, 2));
  const snapshot: unknown = await host.snapshotNow().catch((e: unknown) => e);
  expect(snapshot).toMatchObject({ code: "EXHAUSTED" });
  isFull = false;
  await until(() => !host.machine.isFull);
  const after = await operate(member, { append: pieceBytes(100_000, 4) });
  const info = await host.snapshotNow();
  expect(info.index).toBeGreaterThanOrEqual(after);
  expect(await readAll(member)).toHaveLength(3);
});
