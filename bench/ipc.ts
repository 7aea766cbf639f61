/**
 * What messages between processes cost: all parts one after the other, each in a host process of its own, so that one
 * that fails does not take the figures of the others along.
 *
 *   bun bench/ipc.ts [--only local-call,remote-call-256] [--rounds 5] [--seconds S]
 *
 * JSON lines on stdout; 0 if every part could be measured, whatever the figures are.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ipcOptions } from "./ipc-options.ts";
import { say } from "./lib.ts";

const parts = {
  "ipc-local.ts": ["local-oneway", "local-call"],
  "ipc-remote.ts": [
    ...["remote-call-p50", "remote-call-tls-p50", "remote-call-256", "remote-call-256-tls"],
    ...["bulk-copy", "bulk-copy-tls"],
  ],
  "ipc-mixed.ts": ["mixed-p50", "mixed-p95", "mixed-tls-p50", "mixed-tls-p95"],
};

const args = process.argv.slice(2);
const { wants } = ipcOptions(args);
const wanted = Object.entries(parts).filter(([, names]) => names.some(wants));
if (wanted.length === 0) {
  say(`no such figure: ${Object.values(parts).flat().join(", ")}`);
  process.exitCode = 2;
}
for (const [part] of wanted) {
  const code = await new Promise((resolve) => {
    const child = spawn(process.execPath, ["--no-install", join(import.meta.dirname, part), ...args], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    child.on("error", resolve);
    child.on("close", resolve);
  });
  if (code === 0) continue;
  process.exitCode = 1;
  say(`${part} failed: ${String(code)}`);
}
