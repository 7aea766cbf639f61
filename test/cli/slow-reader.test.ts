/** What a command has written reaches its reader, however slow that is. */
import { expect, test } from "bun:test";
import { spawn } from "node:child_process";

const module = new URL("../../cli/process-io.ts", import.meta.url).pathname;

test("a reader that is slower than the command gets all of it", async () => {
  const bytes = 2_000_000;
  const script = `
    const { exit, processIo } = await import(${JSON.stringify(module)});
    const io = processIo();
    io.stdout.write("x".repeat(${bytes - 1}));
    io.stdout.write("\\n");
    await exit(3);`;
  const child = spawn(process.execPath, ["--no-install", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  // A pipe holds 64 KiB; the rest waits in the command until somebody reads.
  child.stdout.pause();
  await new Promise((resolve) => {
    setTimeout(resolve, 300);
  });
  let got = 0;
  child.stdout.on("data", (chunk: Uint8Array) => (got += chunk.length));
  child.stdout.resume();
  expect(await ended).toBe(3);
  expect(got).toBe(bytes);
});
