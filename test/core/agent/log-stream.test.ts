import { afterEach, beforeEach, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { streamLog } from "../../../core/agent/log-stream.ts";
import { DvsError } from "../../../core/errors.ts";

let dir: string;
let path: string;
let ending: AbortController;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  path = join(dir, "container.log");
  ending = new AbortController();
});
afterEach(() => {
  ending.abort();
  rmSync(dir, { recursive: true, force: true });
});

async function tail(tailLines: number): Promise<string> {
  return new Response(await streamLog(path, { tailLines, follow: false, signal: ending.signal })).text();
}

test("the last lines come, however long the log is and whether or not its last line is ended", async () => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
  writeFileSync(path, `${lines.join("\n")}\n`);
  expect(await tail(2)).toBe("line 19998\nline 19999\n");
  expect((await tail(15_000)).split("\n")).toHaveLength(15_001);
  expect((await tail(30_000)).startsWith("line 0\n")).toBe(true);
  expect(await tail(0)).toBe("");
  appendFileSync(path, "unfinished");
  expect(await tail(2)).toBe("line 19999\nunfinished");
});

test("a follower gets what is written later, also after the log was rotated, until it is told to end", async () => {
  writeFileSync(path, "one\n");
  const stream = await streamLog(path, { tailLines: 10, follow: true, signal: ending.signal });
  const decoder = new TextDecoder();
  let text = "";
  const done = (async () => {
    for await (const bytes of stream) text += decoder.decode(bytes);
  })();
  const until = async (part: string) => {
    for (let i = 0; i < 1_000 && !text.includes(part); i++) {
      await new Promise((resolve) => {
        setTimeout(resolve, 10);
      });
    }
    expect(text).toContain(part);
  };
  await until("one\n");
  appendFileSync(path, "two\n");
  await until("two\n");
  renameSync(path, `${path}.1`);
  writeFileSync(path, "three\n");
  await until("three\n");
  ending.abort();
  await done;
  expect(text).toBe("one\ntwo\nthree\n");
});

test("a container without a log is NOT_FOUND", async () => {
  const e = await tail(1).catch((e: unknown) => e);
  expect(DvsError.from(e).code).toBe("NOT_FOUND");
});
