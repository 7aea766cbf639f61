/** bench/peers/tcp.c, compiled when it is wanted: the floor that a program in C sets for two processes on TCP. */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const messageBytes = 64;

export interface TcpPeer {
  pingPongUs(n: number): Promise<number>;
  /** Messages a second. */
  pipelined(window: number, n: number): Promise<number>;
  bulkMBs(bytes: number): Promise<number>;
  close(): void;
}

/** Null without a compiler. */
export function openTcpPeer(): TcpPeer | null {
  const dir = mkdtempSync(join(tmpdir(), "dvs-tcp-"));
  const binary = join(dir, "tcp");
  const compiled = spawnSync("gcc", ["-O2", "-o", binary, join(import.meta.dirname, "tcp.c")]);
  if (compiled.status !== 0) {
    rmSync(dir, { recursive: true });
    return null;
  }
  const server: ChildProcess = spawn(binary, ["server"], { stdio: ["ignore", "pipe", "inherit"] });
  const port = new Promise<string>((resolve) =>
    server.stdout!.once("data", (line: Buffer) => resolve(line.toString().trim())),
  );
  const measure = async (what: string, ...args: number[]) => {
    const { stdout } = await run(binary, [what, await port, ...args.map(String)]);
    return Number(stdout);
  };
  return {
    pingPongUs: (n) => measure("ping", messageBytes, n),
    pipelined: (window, n) => measure("pipe", messageBytes, window, n),
    bulkMBs: (bytes) => measure("bulk", bytes),
    close() {
      server.kill();
      rmSync(dir, { recursive: true });
    },
  };
}
