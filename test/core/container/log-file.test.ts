import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LogFile } from "../../../core/container/log-file.ts";
import { openContainerLog } from "../../../core/container/log.ts";

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  path = join(dir, "test.log");
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("lines are gathered, and written in order at the latest when it closes", () => {
  const file = new LogFile(path, { bytesMax: 1_000, kept: 1 });
  file.write("a");
  file.write("ü");
  expect(existsSync(path)).toBe(false);
  file.close();
  expect(readFileSync(path, "utf8")).toBe("a\nü\n");
});

test("within a second they are written without being asked", async () => {
  const file = new LogFile(path, { bytesMax: 1_000, kept: 1 });
  file.write("a");
  while (!existsSync(path) || statSync(path).size < 2)
    await new Promise((resolve) => setTimeout(resolve, 50));
  file.close();
  expect(readFileSync(path, "utf8")).toBe("a\n");
});

test("many lines are written before the second is over", () => {
  const file = new LogFile(path, { bytesMax: 10_000_000, kept: 1 });
  for (let i = 0; i < 1_000; i++) file.write("x".repeat(99));
  expect(statSync(path).size).toBeGreaterThan(0);
  file.close();
  expect(statSync(path).size).toBe(100_000);
});

test("it goes on behind what an earlier one wrote", () => {
  for (const line of ["one", "two"]) {
    const file = new LogFile(path, { bytesMax: 1_000, kept: 1 });
    file.write(line);
    file.close();
  }
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
});

test("all files together stay within their bound, and the newest lines are there", () => {
  const file = new LogFile(path, { bytesMax: 100, kept: 2 });
  for (let i = 0; i < 100; i++) {
    file.write(`line ${String(i).padStart(4, "0")}`);
    file.flush();
  }
  file.close();
  expect(readdirSync(dir).sort()).toEqual(["test.log", "test.log.1", "test.log.2"]);
  const texts = ["test.log.2", "test.log.1", "test.log"].map((name) => readFileSync(join(dir, name), "utf8"));
  expect(texts.every((text) => text.length <= 100)).toBe(true);
  const lines = texts.join("").trimEnd().split("\n");
  expect(lines.at(-1)).toBe("line 0099");
  // Nothing is missing between the oldest that was kept and the newest.
  expect(lines).toEqual(lines.map((_, i) => `line ${String(100 - lines.length + i).padStart(4, "0")}`));
});

test("a disk that takes nothing costs the lines and nothing else, and their number is told", () => {
  // A directory in its place: every write fails, as on a full disk.
  mkdirSync(path);
  const file = new LogFile(path, { bytesMax: 1_000, kept: 1 });
  file.write("lost 1");
  file.flush();
  file.write("lost 2");
  file.write("lost 3");
  file.flush();
  rmSync(path, { recursive: true });
  file.write("kept");
  file.close();
  expect(readFileSync(path, "utf8")).toBe("# 3 lines lost: the disk took none\nkept\n");
});

test("a log entry is one line of JSON, whatever it holds", () => {
  const log = openContainerLog(path);
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  log.log("info", "two\nlines", { a: 1 });
  log.log("warn", "circle", circle);
  log.close();
  const entries = readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(entries).toMatchObject([
    { level: "info", message: "two\nlines", a: 1 },
    { level: "warn", message: "circle" },
  ]);
});

test("a file that others append to keeps its inode, so that nothing is written into one without a name", () => {
  const stdout = openSync(path, "a");
  const { ino } = statSync(path);
  const file = new LogFile(path, { bytesMax: 100, kept: 1, shared: true });
  for (let i = 0; i < 20; i++) {
    writeSync(stdout, `printed ${i}\n`);
    file.write(`logged ${i}`);
    file.flush();
  }
  writeSync(stdout, "printed last\n");
  closeSync(stdout);
  file.close();
  expect(statSync(path).ino).toBe(ino);
  const [older, newer] = [`${path}.1`, path].map((p) => readFileSync(p, "utf8"));
  expect(newer).toEndWith("logged 19\nprinted last\n");
  expect(older!.length).toBeLessThanOrEqual(110);
  // No line is lost or cut between the two.
  const lines = (older! + newer!).trimEnd().split("\n");
  const logged = lines.filter((line) => line.startsWith("logged"));
  const first = 20 - logged.length;
  expect(logged).toEqual(logged.map((_, i) => `logged ${first + i}`));
});

test("what is printed past the log is bounded, also when nothing is logged", async () => {
  const log = openContainerLog(path, { bytesMax: 1_000, everyMs: 10 });
  try {
    for (let i = 0; i < 40; i++) {
      appendFileSync(path, `${"x".repeat(99)}\n`);
      if (i % 20 !== 19) continue;
      while (statSync(path).size > 1_000) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(readdirSync(dir).sort()).toEqual(["test.log", "test.log.1"]);
  } finally {
    log.close();
  }
});
