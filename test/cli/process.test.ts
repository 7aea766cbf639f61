/** What only a host process of its own shows: streams, pipes, signals, the exit. */
import { describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { version } from "../../core/version.ts";

const main = new URL("../../cli/main.ts", import.meta.url).pathname;
const env = { ...process.env, HOME: "/nonexistent", NO_COLOR: "1", DVS_HOME: "/nonexistent/dvs" };

function start(args: string[], more: Record<string, string> = {}) {
  const child = spawn(process.execPath, ["--no-install", main, ...args], {
    env: { ...env, ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const out = { stdout: "", stderr: "" };
  child.stdout.on("data", (d: Uint8Array) => (out.stdout += new TextDecoder().decode(d)));
  child.stderr.on("data", (d: Uint8Array) => (out.stderr += new TextDecoder().decode(d)));
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on("close", (code, signal) => resolve({ code, signal })),
  );
  return { child, out, ended };
}

describe("the host process", () => {
  test("data goes to stdout, words to stderr, the code to the caller", async () => {
    const good = start(["version"]);
    expect(await good.ended).toEqual({ code: 0, signal: null });
    expect(good.out.stdout).toStartWith(`dvs ${version}`);
    expect(good.out.stderr).toBe("");
    const bad = start(["version", "--nope"]);
    expect(await bad.ended).toEqual({ code: 2, signal: null });
    expect(bad.out.stdout).toBe("");
    expect(bad.out.stderr).toContain("unknown flag --nope");
  });

  test("a large answer arrives whole through a pipe", async () => {
    const { out, ended } = start(["config", "schema", "--kind", "instance"]);
    expect((await ended).code).toBe(0);
    expect(() => JSON.parse(out.stdout) as unknown).not.toThrow();
  });

  test("a reader that has seen enough is no failure", async () => {
    const { child, out, ended } = start(["--help"]);
    child.stdout.destroy();
    expect((await ended).code).toBe(0);
    expect(out.stderr).toBe("");
  });

  test("data that could not be written is a failure", async () => {
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, ["--no-install", main, "version"], {
      env,
      stdio: ["ignore", full, "pipe"],
    });
    closeSync(full);
    let stderr = "";
    child.stderr!.on("data", (d: Uint8Array) => (stderr += new TextDecoder().decode(d)));
    const code = await new Promise((resolve) => child.on("close", resolve));
    expect({ code, stderr }).toMatchObject({
      code: 9,
      stderr: expect.stringContaining("Cannot write to standard output") as string,
    });
  });

  test("what the file system refuses is no defect of dvs, and says where", async () => {
    const { out, ended } = start(["coordinator", "start", "--data-dir", join(main, "below")]);
    expect((await ended).code).toBe(2);
    expect(out.stderr).toContain(`Cannot use ${join(main, "below")}: what should be a directory`);
    expect(out.stderr).not.toContain("defect");
    const taken = start(["coordinator", "start", "--data-dir", main]);
    expect((await taken.ended).code).toBe(2);
    expect(taken.out.stderr).toContain(`Cannot use ${main}: it exists already, and is no directory`);
  });

  test("certificate checks cannot be switched off by the environment, and that is said", async () => {
    const { out, ended } = start(["version"], { NODE_TLS_REJECT_UNAUTHORIZED: "0" });
    expect((await ended).code).toBe(0);
    expect(out.stderr).toContain("NODE_TLS_REJECT_UNAUTHORIZED=0 is set and ignored");
    expect(out.stdout).toStartWith("dvs ");
  });

  test("Ctrl-C ends a waiting command with 130", async () => {
    // A coordinator that takes the connection and never answers.
    const asked = Promise.withResolvers<void>();
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      asked.resolve();
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const { port } = server.address() as { port: number };
    const { mintApiToken } = await import("../../core/trust/tokens.ts");
    const { token } = mintApiToken({ caFingerprint: "0".repeat(64) });
    const { child, out, ended } = start(["status"], { DVS_ADDR: `127.0.0.1:${port}`, DVS_TOKEN: token });
    try {
      await asked.promise;
      child.kill("SIGINT");
      expect(await ended).toEqual({ code: 130, signal: null });
      expect(out.stdout).toBe("");
    } finally {
      child.kill("SIGKILL");
      server.close();
    }
  });
});
