import { describe, expect, test } from "bun:test";
import type { Api } from "../../core/api/client.ts";
import type { InstanceView, InstanceWatchEvent } from "../../core/api/views.ts";
import { DvsError } from "../../core/errors.ts";
import type { Io } from "../../cli/io.ts";
import { Progress } from "../../cli/progress.ts";
import { waitForInstance, type Wait } from "../../cli/wait.ts";
import { createWords } from "../../cli/words.ts";

function view(phase: InstanceView["phase"], more: Partial<InstanceView> = {}): InstanceView {
  return {
    tenant: "default",
    name: "web",
    uid: "u1",
    spec: { os: "web", nodes: 3, on: {}, image: null, options: {}, publish: [], state: null },
    generation: 1,
    phase,
    desired: "running",
    conditions: [],
    ready: 0,
    containers: [],
    ports: [],
    state: null,
    createdAt: "",
    ...more,
  };
}

type Script = (InstanceWatchEvent | Error | "hang")[];

/** Each watch plays the next script; the last one again and again. */
function wait(scripts: Script[], more: Partial<Wait> & { tty?: boolean } = {}) {
  let stderr = "";
  const sink = {
    write: (t: string) => void (stderr += t),
    isTTY: more.tty ?? false,
    columns: more.tty ? 60 : 0,
  };
  const io = { stdout: sink, stderr: sink, env: { NO_COLOR: "1" } } as unknown as Io;
  let watches = 0;
  const api = {
    instances: {
      async *watch(_: unknown, signal: AbortSignal) {
        const script = scripts[Math.min(watches++, scripts.length - 1)]!;
        for (const step of script) {
          if (step instanceof Error) throw step;
          if (step === "hang") {
            await new Promise((_resolve, reject) => {
              const stop = () => reject(signal.reason as Error);
              if (signal.aborted) stop();
              else signal.addEventListener("abort", stop);
            });
          } else yield step;
        }
      },
    },
  } as unknown as Api;
  const result = waitForInstance({
    api,
    instance: { name: "web", uid: "u1" },
    goal: "running",
    reached: (v) => v.phase === "running",
    timeoutMs: 10_000,
    progress: new Progress(io, createWords(io)),
    signal: new AbortController().signal,
    ...more,
  });
  return { result, stderr: () => stderr };
}

const event = (v: InstanceView): InstanceWatchEvent => ({ type: "instance", instance: v });
const synced: InstanceWatchEvent = { type: "synced" };
const pending = view("pending", {
  conditions: [{ reason: "unschedulable", message: "needs 3 nodes, 2 are up" }],
});

describe("waiting for an instance", () => {
  test("each state is a line with its reason, once; the goal ends it", async () => {
    const w = wait([
      [event(pending), synced, event(pending), event(view("creating", { ready: 1 })), event(view("running"))],
    ]);
    expect(await w.result).toMatchObject({ phase: "running" });
    expect(w.stderr().split("\n")).toEqual([
      "web: pending — unschedulable: needs 3 nodes, 2 are up",
      "web: creating, 1 of 3 are ready",
      "web: running",
      "",
    ]);
  });

  test("on a terminal it is one line, never wider than that, gone at the end", async () => {
    const long = view("pending", { conditions: [{ reason: "unschedulable", message: "x".repeat(200) }] });
    const w = wait([[event(long), event(view("running"))]], { tty: true });
    await w.result;
    const lines = w.stderr().split("\r\u001B[K");
    expect(w.stderr()).not.toContain("\n");
    expect(Math.max(...lines.map((l) => l.length))).toBeLessThan(60);
    expect(lines.at(-1)).toBe("");
  });

  test("the time over is TIMEOUT with the last state, and says that it goes on", async () => {
    const error = await wait([[event(pending), synced, "hang"]], { timeoutMs: 30 }).result.catch(
      (e: unknown) => e,
    );
    expect(error).toBeInstanceOf(DvsError);
    expect(error).toMatchObject({ code: "TIMEOUT", exit: 7 });
    expect((error as Error).message).toContain("needs 3 nodes, 2 are up");
    expect((error as Error).message).toContain("It goes on");
  });

  test("a broken watch is opened again", async () => {
    const w = wait([
      [event(pending)],
      [new DvsError("UNAVAILABLE", "no coordinator answers")],
      [event(view("running"))],
    ]);
    expect(await w.result).toMatchObject({ phase: "running" });
    expect(w.stderr()).toContain("waiting for the coordinator (no coordinator answers)");
  });

  test("a refusal is not tried again", async () => {
    const error = await wait([[new DvsError("FORBIDDEN", "viewer")]]).result.catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "FORBIDDEN" });
  });

  test("an instance that goes gives the reason why", async () => {
    const failure = { reason: "port-failed", message: "port 80 is in use" };
    const gone: InstanceWatchEvent = { type: "removed", tenant: "default", name: "web", uid: "u1", failure };
    expect(await wait([[event(pending), synced, gone]]).result).toEqual({ removed: true, failure });
  });

  test("one made later under the same name is another one", async () => {
    const other = view("running", { uid: "u2" });
    expect(await wait([[event(other), synced, "hang"]]).result).toEqual({ removed: true, failure: null });
  });

  test("an interrupt rejects at once", async () => {
    const abort = new AbortController();
    const w = wait([[event(pending), synced, "hang"]], { signal: abort.signal });
    abort.abort("SIGINT");
    expect(await w.result.catch((e: unknown) => e)).toBe("SIGINT");
  });
});
