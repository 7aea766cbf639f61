/** Host processes of a node that are told to end at any moment of their start do end, by themselves. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ContainerBoot } from "../../core/container/control.ts";
import { delay } from "./fixture.ts";

setDefaultTimeout(60_000);
const main = new URL("../../cli/main.ts", import.meta.url).pathname;
const dir = mkdtempSync(join(tmpdir(), "dvs-early-"));
const children: ChildProcess[] = [];

afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

/** Exit code, or the signal's name. */
async function endedAfter(ms: number, args: string[]): Promise<number | string> {
  const child = spawn(process.execPath, ["--no-install", main, ...args], { stdio: "ignore" });
  children.push(child);
  const ended = new Promise<number | string>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal!));
  });
  await delay(ms);
  child.kill("SIGTERM");
  return ended;
}

/** From before the first line of it runs to well after it serves. */
const moments = Array.from({ length: 24 }, (_, i) => i * 15);
/** Before anything of dvs runs, the signal itself ends the process. */
const graceful = [0, "SIGTERM"];

test("an ingress ends on SIGTERM, whenever it comes", async () => {
  for (const [i, ms] of moments.entries()) {
    const runDir = join(dir, `ingress-${i}`);
    mkdirSync(runDir, { mode: 0o700 });
    expect(graceful).toContain(await endedAfter(ms, ["ingress", "--run-dir", runDir]));
  }
});

test("a container ends on SIGTERM, whenever it comes", async () => {
  for (const [i, ms] of moments.entries()) {
    const runDir = join(dir, `container-${i}`);
    mkdirSync(runDir, { mode: 0o700 });
    const boot: ContainerBoot = {
      spec: {
        tenant: "default",
        instance: "hi",
        uid: `u${i}`,
        generation: 1,
        os: "hello",
        image: null,
        options: {},
      },
      node: { id: "n-1", name: "n1", address: "127.0.0.1" },
      incarnation: `i${i}`,
      runDir,
      blobDir: join(dir, "blobs"),
      listen: { host: "127.0.0.1", port: 0 },
      tls: null,
    };
    writeFileSync(join(runDir, "boot.json"), JSON.stringify(boot), { mode: 0o600 });
    expect(graceful).toContain(await endedAfter(ms, ["container", "--run-dir", runDir]));
  }
});
