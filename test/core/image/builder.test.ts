import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buildImage } from "../../../core/image/builder.ts";
import { parseManifest } from "../../../core/image/manifest.ts";
import { encodePack } from "../../../core/image/pack-encode.ts";
import { smallBlobBytes } from "../../../core/image/pack.ts";
import { rejectionOf } from "./rejection.ts";

let base: string;
let dirs = 0;
beforeAll(() => void (base = mkdtempSync(join(tmpdir(), "dvs-"))));
afterAll(() => rmSync(base, { recursive: true, force: true }));

function treeOf(files: Record<string, string | Uint8Array>): string {
  const dir = join(base, String(dirs++));
  mkdirSync(dir);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
  return dir;
}

test("the image of a real site names each file with its digest, and building it twice gives one digest", async () => {
  const site = new URL("../../../node_modules/bootstrap-icons", import.meta.url).pathname;
  let last = { files: 0, filesTotal: 0, bytes: 0 };
  const image = await buildImage(site, { onProgress: (p) => (last = p) });
  expect(image.files).toBeGreaterThan(2_000);
  expect(last).toEqual({ files: image.files, filesTotal: image.files, bytes: image.bytes });
  const alarm = image.entries.find((entry) => entry.path === "/icons/alarm.svg");
  const hex = createHash("sha256")
    .update(readFileSync(join(site, "icons/alarm.svg")))
    .digest("hex");
  expect(alarm?.digest).toBe(`sha256:${hex}`);
  expect((await parseManifest(image.manifest)).digest).toBe(image.digest);
  expect((await buildImage(site)).digest).toBe(image.digest);
});

test("directories, modes and links are in the image; links stay as they are", async () => {
  const dir = treeOf({ "a/b.txt": "b", "run.sh": "#!/bin/sh" });
  chmodSync(join(dir, "run.sh"), 0o4750);
  chmodSync(join(dir, "a"), 0o700);
  symlinkSync("../run.sh", join(dir, "a/link"));
  symlinkSync(join(dir, "a"), join(dir, "absolute"));
  symlinkSync("nowhere", join(dir, "dangling"));
  mkdirSync(join(dir, "empty"));
  const { entries } = await parseManifest((await buildImage(dir)).manifest);
  const told = entries.map((e) => `${e.type} ${e.path} ${e.mode.toString(8)} ${e.target}`.trim());
  expect(told.slice(1)).toEqual([
    "directory /a 700",
    "file /a/b.txt 644",
    "symlink /a/link 777 ../run.sh",
    "symlink /absolute 777 /a",
    "symlink /dangling 777 nowhere",
    "directory /empty 755",
    "file /run.sh 750",
  ]);
});

test("what cannot be in an image is refused all at once, or left out and listed", async () => {
  const dir = treeOf({ "ok.txt": "ok" });
  symlinkSync("../../etc/passwd", join(dir, "up"));
  symlinkSync("/etc/passwd", join(dir, "out"));
  spawnSync("mkfifo", [join(dir, "pipe")]);
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/bad-`), Buffer.from([0xff])]), "");
  const error = await buildImage(dir).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: "INVALID" });
  for (const part of [
    "/up is a symbolic link",
    "/out is a symbolic link",
    "/pipe is a named pipe",
    "not UTF-8",
  ]) {
    expect((error as Error).message).toContain(part);
  }
  const image = await buildImage(dir, { unsupported: "skip" });
  expect(image.entries.map((e) => e.path).sort()).toEqual(["/", "/ok.txt"]);
  expect(image.skipped).toHaveLength(4);
});

test("a link to a directory outside is never followed", async () => {
  const outside = treeOf({ "secret.txt": "secret" });
  const dir = treeOf({ "ok.txt": "ok" });
  symlinkSync(outside, join(dir, "out"));
  const image = await buildImage(dir, { unsupported: "skip" });
  expect(image.entries.some((e) => e.path.includes("secret"))).toBe(false);
});

test(".dvsignore and the caller's patterns keep files out, and the file itself stays out", async () => {
  const dir = treeOf({
    ".dvsignore": "node_modules/\n*.log\n!keep.log\n",
    "node_modules/x/index.js": "x",
    "a.log": "a",
    "keep.log": "k",
    "sub/.dvsignore": "not read",
    "draft.md": "d",
  });
  spawnSync("mkfifo", [join(dir, "node_modules/pipe")]);
  const image = await buildImage(dir, { ignore: ["draft.*"] });
  expect(image.entries.map((e) => e.path).sort()).toEqual(["/", "/keep.log", "/sub", "/sub/.dvsignore"]);
});

test("a file that changes after it was hashed is noticed when it is sent", async () => {
  const large = new Uint8Array(smallBlobBytes * 2).fill(1);
  const dir = treeOf({ small: "small", large });
  const image = await buildImage(dir);
  const digestOf = (path: string): string => image.entries.find((e) => e.path === path)?.digest ?? "";
  const sending = async (path: string): Promise<unknown> =>
    new Response(encodePack([digestOf(path)], image)).arrayBuffer();
  await sending("/small");
  await sending("/large");
  writeFileSync(join(dir, "small"), "SMALL");
  expect(await rejectionOf(sending("/small"))).toMatchObject({ code: "CONFLICT" });
  const reader = image.openStream(digestOf("/large")).getReader();
  await reader.read();
  appendFileSync(join(dir, "large"), "more");
  const rest = (async () => {
    while (!(await reader.read()).done);
  })();
  expect(await rejectionOf(rest)).toMatchObject({ code: "CONFLICT" });
  rmSync(join(dir, "large"));
  expect(await rejectionOf(sending("/large"))).toMatchObject({ code: "CONFLICT" });
});

test("a file that is being written while it is hashed is either a whole state of it or a CONFLICT", async () => {
  const size = 3_000_000;
  const dir = treeOf({ changing: new Uint8Array(size).fill(0) });
  const path = join(dir, "changing");
  const stop = new AbortController();
  const writer = (async () => {
    for (let i = 1; !stop.signal.aborted; i++) {
      writeFileSync(path, new Uint8Array(size).fill(i));
      await new Promise(setImmediate);
    }
  })();
  const built = await buildImage(dir).catch((e: unknown) => e);
  stop.abort();
  await writer;
  expect(built).toMatchObject(built instanceof Error ? { code: "CONFLICT" } : { bytes: size });
});

test("what is no directory is told apart", async () => {
  const dir = treeOf({ file: "x" });
  expect(await rejectionOf(buildImage(join(dir, "none")))).toMatchObject({ code: "NOT_FOUND" });
  expect(await rejectionOf(buildImage(join(dir, "file")))).toMatchObject({ code: "INVALID" });
  expect(
    String(await rejectionOf(buildImage(dir, { signal: AbortSignal.abort(new Error("stop")) }))),
  ).toContain("stop");
});
