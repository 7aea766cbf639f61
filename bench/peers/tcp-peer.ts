/**
 * bench/peers/tcp.c, compiled when it is wanted: the floor that a program in C sets for two processes on TCP or a Unix
 * socket.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const messageBytes = 64;

export type TcpPath = "tcp" | "unix";

export interface TcpPeer {
  pingPongUs(path: TcpPath, n: number): Promise<number>;
  bulkMBs(path: TcpPath, bytes: number): Promise<number>;
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
  const socket = join(dir, "socket");
  const server: ChildProcess = spawn(binary, ["server", socket], { stdio: ["ignore", "pipe", "inherit"] });
  const port = new Promise<string>((resolve) =>
    server.stdout!.once("data", (line: Buffer) => resolve(line.toString().trim())),
  );
  const measure = async (what: string, path: TcpPath, ...args: number[]) => {
    const at = await port;
    const { stdout } = await run(binary, [what, path === "tcp" ? at : socket, ...args.map(String)]);
    return Number(stdout);
  };
  return {
    pingPongUs: (path, n) => measure("ping", path, messageBytes, n),
    bulkMBs: (path, bytes) => measure("bulk", path, bytes),
    close() {
      server.kill();
      rmSync(dir, { recursive: true });
    },
  };
}
