/**
 * The file system of an instance from the command line, on real host processes: three replicas, each on its own node.
 * What is written through one node is read through every other, and a copy outlives the primary.
 */
import { beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { contentsOf } from "../../core/api/contents.ts";
import { clusterForFile, createHello, stateInSync } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 3 });
let uid = "";
let dir = "";

beforeAll(async () => {
  uid = (await createHello(cluster(), "box", 3)).view.uid;
  await stateInSync(cluster(), "box");
  dir = join(cluster().dir, "files");
  mkdirSync(dir);
}, 60_000);

const dvs = (...args: string[]) => cluster().dvs(args);
const textOf = async (path: string, node: string) => {
  let text = "";
  const decoder = new TextDecoder();
  for await (const part of contentsOf(cluster().api, "box", [path], { node })) {
    if (part.type === "failure") throw part.error;
    if (part.type === "bytes") text += decoder.decode(part.bytes, { stream: true });
  }
  return text;
};
/** Paths below a directory → kind, mode, and content or target. */
function tree(top: string, below = ""): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const name of readdirSync(join(top, below)).toSorted()) {
    const path = join(below, name);
    const stats = lstatSync(join(top, path));
    const mode = stats.mode & 0o777;
    if (stats.isDirectory()) Object.assign(found, { [path]: { mode } }, tree(top, path));
    else if (stats.isSymbolicLink()) found[path] = { target: readlinkSync(join(top, path)) };
    else
      found[path] = {
        mode,
        mtime: Math.floor(stats.mtimeMs),
        hash: Bun.hash(readFileSync(join(top, path))).toString(),
      };
  }
  return found;
}
function makeTree(name: string): string {
  const top = join(dir, name);
  mkdirSync(join(top, "deep/er"), { recursive: true });
  mkdirSync(join(top, "empty"));
  for (let i = 0; i < 60; i++) writeFileSync(join(top, "deep", `file-${i}`), "x".repeat(i * 97));
  writeFileSync(join(top, "deep/er/script"), "#!/bin/sh\n");
  chmodSync(join(top, "deep/er/script"), 0o755);
  writeFileSync(join(top, "ünïcode näme"), "text");
  chmodSync(join(top, "empty"), 0o750);
  symlinkSync("deep/er/script", join(top, "link"));
  symlinkSync("/nowhere", join(top, "dangling"));
  utimesSync(join(top, "deep/file-7"), 1_000_000_000, 1_000_000_000.5);
  return top;
}

test("what is written through one node is read through every other", async () => {
  writeFileSync(join(dir, "greeting"), "good morning\n");
  expect(await dvs("mkdir", "-p", "box:/srv/texts")).toMatchObject({ code: 0 });
  expect(await dvs("cp", join(dir, "greeting"), "box:/srv/texts/")).toMatchObject({ code: 0 });
  for (const { name } of cluster().nodes)
    expect(await textOf("/srv/texts/greeting", name)).toBe("good morning\n");
  expect(await dvs("cat", "box:/srv/texts/greeting")).toMatchObject({ code: 0, stdout: "good morning\n" });
  expect(await dvs("ls", "box:/srv")).toMatchObject({ code: 0, stdout: "texts\n" });
  const long = await dvs("ls", "-l", "box:/srv/texts");
  expect(long.stdout).toMatch(/-rw-r--r-- +1 +0 +0 +13 .* greeting\n/);
  const json = JSON.parse((await dvs("ls", "box:/srv/texts", "-o", "json")).stdout) as object[];
  expect(json).toMatchObject([{ name: "greeting", kind: "file", size: 13 }]);
  expect(await dvs("mv", "box:/srv/texts/greeting", "/srv/moved")).toMatchObject({ code: 0 });
  expect(await dvs("cat", "box:/srv/moved")).toMatchObject({ stdout: "good morning\n" });
  expect((await dvs("df", "box")).stdout).toMatch(/box +\S+ \S+ +13 B +\S+ \S+ +\d+% +1\.0 TiB/);
  const limited = await dvs("quota", "box", "--bytes", "1GiB", "--files", "500");
  expect(limited.stdout).toMatch(/box +1\.0 GiB +13 B +1024 MiB +1% +1\.0 GiB +\d+ +500\n/);
  expect((await dvs("quota", "box", "--bytes", "1TiB")).stdout).toMatch(/ 1\.0 TiB +\d+ +500\n/);
  // What the disks have, and not only what a quota that nobody has set would allow.
  const { bavail, blocks, bsize } = statfsSync(dir);
  const [{ bytesFree }] = JSON.parse((await dvs("df", "box", "-o", "json")).stdout) as [
    { bytesFree: number },
  ];
  expect(bytesFree).toBeGreaterThan(0);
  expect(bytesFree).toBeLessThan(bsize * (bavail + 0.05 * blocks));
  expect(await dvs("rm", "-r", "box:/srv")).toMatchObject({ code: 0 });
  expect((await dvs("ls", "box:/srv")).code).toBe(3);
});

test("what cannot be is refused with its reason and its exit code", async () => {
  await dvs("mkdir", "box:/there");
  await dvs("mkdir", "box:/there/inside");
  const refused: [string[], number, string][] = [
    [["ls", "box:/nothing"], 3, "no such file"],
    [["cat", "box:/there"], 2, "directory"],
    [["cat", "nothing:/there"], 3, "nothing"],
    [["cat", "/there"], 2, "INSTANCE:/path"],
    [["mkdir", "box:/there"], 4, "exists"],
    [["mkdir", "box:/no/parent"], 3, "no such file"],
    [["rm", "box:/nothing"], 3, "no such file"],
    [["rm", "box:/there"], 2, "directory"],
    [["rm", "-r", "box:/"], 4, "in use"],
    [["mv", "box:/there", "/there/inside"], 2, "sense"],
    [["mv", "box:/there", "other:/there"], 2, "dvs cp"],
    [["cp", "box:/there", "box:/else"], 2, "either all sources or the last"],
    [["cp", join(dir, "no such file"), "box:/there"], 3, "no such file"],
    [["cp", "box:/nothing", dir], 3, "no such file"],
  ];
  for (const [args, code, words] of refused) {
    const answer = await dvs(...args);
    expect({ args, code: answer.code }).toEqual({ args, code });
    expect(answer.stderr).toContain(words);
  }
  expect((await dvs("rm", "-f", "box:/nothing")).code).toBe(0);
  const viewer = await cluster().api.tokens.create({ kind: "api", role: "viewer" });
  const env = { DVS_TOKEN: viewer.token, DVS_ADDR: cluster().coordinatorAddress };
  expect((await cluster().dvs(["ls", "box:/there"], env)).code).toBe(0);
  expect((await cluster().dvs(["rm", "-r", "box:/there"], env)).code).toBe(5);
});

test("a directory goes there and back with modes, times and links, and a second copy copies nothing", async () => {
  const top = makeTree("tree");
  const up = await dvs("cp", top, "box:/copied", "-o", "json");
  expect(up).toMatchObject({ code: 0 });
  expect(JSON.parse(up.stdout)).toMatchObject({ files: 64, skipped: 0, failed: 0 });
  const again = await dvs("cp", `${top}/.`, "box:/copied", "-o", "json");
  expect(JSON.parse(again.stdout)).toMatchObject({ files: 0, skipped: 64, failed: 0 });
  const back = join(dir, "back");
  expect(await dvs("cp", "box:/copied", back)).toMatchObject({ code: 0 });
  expect(tree(back)).toEqual(tree(top));
  const repeated = await dvs("cp", "box:/copied/.", back, "-o", "json");
  expect(JSON.parse(repeated.stdout)).toMatchObject({ files: 0, skipped: 64, failed: 0 });
});

test("a file that cannot be copied does not end the others", async () => {
  const top = join(dir, "partly");
  mkdirSync(top);
  for (const name of ["a", "b", "c"]) writeFileSync(join(top, name), name);
  await dvs("mkdir", "-p", "box:/partly/b");
  const { code, stderr } = await dvs("cp", `${top}/.`, "box:/partly");
  expect(code).toBe(2);
  expect(stderr).toContain(join(top, "b"));
  expect(stderr).toContain("copied 2 files");
  expect(await dvs("cat", "box:/partly/a", "box:/partly/c")).toMatchObject({ stdout: "ac" });
});

test("the primary is killed in the middle of a copy, and the copy too: with the same command it goes on, and is whole", async () => {
  const top = makeTree("large");
  const bytes = Buffer.alloc(96 * 1_024 * 1_024);
  for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32LE(Math.imul(i, 2_654_435_761) >>> 0, i);
  writeFileSync(join(top, "zz-large"), bytes);
  const [command, ...args] = cluster().command as [string, ...string[]];
  const child = spawn(command, [...args, "cp", top, "box:/large"], {
    env: { ...process.env, NO_COLOR: "1", ...cluster().environment },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const parts = async () =>
    (
      await cluster()
        .api.files.page("box", { path: "/large" })
        .catch(() => ({ entries: [] }))
    ).entries.filter(({ name, size }) => name.endsWith(".part") && size > 40 * 1_024 * 1_024);
  await cluster().until(
    "half of it is there",
    async () => (await parts()).length === 1 || child.exitCode !== null,
  );
  const { state } = await cluster().api.instances.get("box");
  process.kill(await cluster().node(state!.primary!.nodeName).pid("state", uid), "SIGKILL");
  // It goes on over the takeover by itself; then its own end comes.
  const [begun] = await parts();
  await cluster().until("it goes on", async () => {
    const [now] = await parts();
    return child.exitCode !== null || (now !== undefined && begun !== undefined && now.size > begun.size);
  });
  child.kill("SIGKILL");
  await new Promise((resolve) => (child.exitCode === null ? child.once("exit", resolve) : resolve(null)));

  const resumed = await dvs("cp", `${top}/.`, "box:/large", "-o", "json");
  expect(resumed).toMatchObject({ code: 0 });
  const told = JSON.parse(resumed.stdout) as { resumed: number; skipped: number; failed: number };
  expect(told.failed).toBe(0);
  expect(told.skipped).toBeGreaterThanOrEqual(60);
  await stateInSync(cluster(), "box");
  const back = join(dir, "large-back");
  expect(await dvs("cp", "box:/large", back)).toMatchObject({ code: 0 });
  expect(tree(back)).toEqual(tree(top));
});
