/** When a host process is gone, and what names it. */
import { afterAll, expect, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { bootId, isDying, processStartTime, uptimeMs } from "../../../core/platform/uptime.ts";

const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

function start(command: string, args: string[]): ChildProcess {
  const child = spawn(command, args, { stdio: "ignore" });
  children.push(child);
  return child;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

test("a process has one start time while it lives, and none when it is gone", async () => {
  const child = start("sleep", ["60"]);
  const startTime = processStartTime(child.pid!);
  expect(startTime).toMatch(/^\d+$/);
  expect(processStartTime(child.pid!)).toBe(startTime);
  child.kill("SIGKILL");
  await until(() => processStartTime(child.pid!) === null);
  expect(processStartTime(2 ** 30)).toBeNull();
});

test("a killed process is dying from the moment of the kill until it is gone, and no other is", async () => {
  for (let round = 0; round < 20; round++) {
    const child = start("sleep", ["60"]);
    const startTime = processStartTime(child.pid!)!;
    expect(isDying(child.pid!, startTime)).toBe(false);
    expect(isDying(child.pid!, "1")).toBe(false);
    child.kill("SIGKILL");
    const seen = isDying(child.pid!, startTime);
    expect(seen || processStartTime(child.pid!) === null).toBe(true);
    await until(() => processStartTime(child.pid!) === null);
    expect(isDying(child.pid!, startTime)).toBe(false);
  }
});

const python = spawnSync("python3", ["--version"]).status === 0;
test.skipIf(!python)(
  `a process whose first thread has ended lives on while others do${python ? "" : " (skipped: no python3 to make one)"}`,
  async () => {
    const script =
      "import ctypes, threading, time\n" +
      "threading.Thread(target=lambda: time.sleep(60)).start()\n" +
      "ctypes.CDLL(None).pthread_exit(None)\n";
    const child = start("python3", ["-c", script]);
    const startTime = processStartTime(child.pid!);
    const state = () => /\) (\S)/.exec(readFileSync(`/proc/${child.pid}/stat`, "utf8"))?.[1];
    await until(() => state() === "Z");
    expect(startTime).not.toBeNull();
    expect(processStartTime(child.pid!)).toBe(startTime);
    child.kill("SIGKILL");
    await until(() => processStartTime(child.pid!) === null);
  },
);

test("the clock shared by processes goes on, and the boot has one id", () => {
  const before = uptimeMs();
  expect(uptimeMs()).toBeGreaterThanOrEqual(before);
  expect(bootId()).toMatch(/^[0-9a-f-]{36}$/);
});
