/** bench/peers/call.erl on two Erlang nodes of this machine, where Erlang is installed. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../test/tools/free-port.ts";

const messageBytes = 64;

export interface ErlangPeer {
  callUs(n: number): Promise<number>;
  /** Calls a second. */
  parallel(callers: number, n: number): Promise<number>;
  close(): void;
}

/** Null without Erlang. */
export async function openErlangPeer(): Promise<ErlangPeer | null> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-erl-"));
  if (spawnSync("erlc", ["-o", dir, join(import.meta.dirname, "call.erl")]).status !== 0) {
    rmSync(dir, { recursive: true });
    return null;
  }
  // A port mapper of its own, which ends with the benchmark.
  const port = String(await freePort());
  const env = { ...process.env, ERL_EPMD_ADDRESS: "127.0.0.1", ERL_EPMD_PORT: port, HOME: dir };
  const children: ChildProcess[] = [
    spawn("epmd", ["-port", port, "-address", "127.0.0.1"], { env, stdio: "ignore" }),
  ];
  const node = (name: string, ...more: string[]) => {
    const own = ["-noshell", "-name", `${name}@127.0.0.1`, "-setcookie", "bench", "-pa", dir];
    const loopback = ["-kernel", "inet_dist_use_interface", "{127,0,0,1}"];
    const child = spawn("erl", [...own, ...loopback, ...more], { env, stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    return child;
  };
  await Bun.sleep(300);
  node("b");
  await Bun.sleep(1_500);
  const measuring = node("a", "-eval", "call:main(['b@127.0.0.1']).");
  const lines = createInterface({ input: measuring.stdout })[Symbol.asyncIterator]();
  await lines.next();
  const ask = async (command: string) => {
    measuring.stdin.write(`${command}\n`);
    return Number((await lines.next()).value);
  };
  return {
    callUs: (n) => ask(`call ${messageBytes} ${n}`),
    parallel: (callers, n) => ask(`par ${messageBytes} ${callers} ${n}`),
    close() {
      for (const child of children) child.kill("SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
