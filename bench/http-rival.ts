/** What the benchmarks against other HTTP servers share: ending a server, waiting for it, loading it with wrk. */
import { type ChildProcess, spawnSync } from "node:child_process";
import { sleep } from "./lib.ts";

/** By SIGTERM: nginx's worker outlives a master that is killed. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const kill = setTimeout(() => child.kill("SIGKILL"), 3_000);
  await exited;
  clearTimeout(kill);
}

/** Resolves when the server on the port answers /small.html; throws what was last in the way after ten seconds. */
export async function answers(port: number): Promise<void> {
  let last: unknown;
  for (let i = 0; i < 200; i++) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/small.html`);
      if (response.status === 200) return;
      last = new Error(`status ${response.status}`);
    } catch (e) {
      last = e;
    }
    await sleep(50);
  }
  throw last;
}

/** One round of 64 connections. Throws where an answer was not 200 or had less than `bytes`. */
export function wrk(
  load: { seconds: number; pinned: boolean },
  port: number,
  path: string,
  bytes: number,
): { rate: number; count: number } {
  const args = ["-t1", "-c64", `-d${load.seconds}`, `http://127.0.0.1:${port}${path}`];
  const [file = "", ...rest] = load.pinned ? ["taskset", "-c", "1", "wrk", ...args] : ["wrk", ...args];
  const { stdout } = spawnSync(file, rest, { encoding: "utf8" });
  const count = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  const rate = Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]);
  const read = /, ([\d.]+)(KB|MB|GB) read/.exec(stdout);
  const unit = { KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 }[read?.[2] ?? "KB"] ?? 1;
  const whole = Number(read?.[1]) * unit >= count * bytes * 0.99;
  if (/Non-2xx|Socket errors/.test(stdout) || !(rate > 0) || !whole) {
    throw new Error(`wrk on port ${port}:\n${stdout}`);
  }
  return { rate, count };
}
