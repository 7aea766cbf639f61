/** Cases on real directories: of this machine, or of mounts, one for each place. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createInterface, type Interface } from "node:readline";
import { type Answer, type Executor, type Place, type Step, type User, users } from "./calls.ts";

/** Longer than a call takes on any machine: what waits longer waits for ever. */
const answerMs = 30_000;
const tryMs = 20;
const triesMax = 250;

interface Caller {
  child: ChildProcess;
  lines: AsyncIterator<string>;
  reader: Interface;
}

/** Each root is an empty directory with mode 0777 that everybody may reach. Needs to be root. */
export class RealExecutor implements Executor {
  readonly #roots: readonly string[];
  readonly #callers = new Map<string, Caller>();
  readonly #releasesLater: boolean;
  #hasClosed = false;

  /** `releasesLater`: Linux tells FUSE of a last close after it has returned, so that a flock goes a moment later. */
  constructor(roots: readonly string[], { releasesLater = false } = {}) {
    this.#roots = roots;
    this.#releasesLater = releasesLater;
  }

  async run(step: Step): Promise<Answer> {
    this.#hasClosed ||= step.call[0] === "close";
    const again = this.#releasesLater && this.#hasClosed && step.call[0] === "flock";
    for (let tries = 1; ; tries++) {
      const answer = await this.#run(step);
      if (!again || tries === triesMax || !("error" in answer) || answer.error !== "EAGAIN") return answer;
      await sleep(tryMs);
    }
  }

  async #run({ by, at, call }: Step): Promise<Answer> {
    const caller = this.#caller(by, at);
    if (call[0] !== "waited") caller.child.stdin!.write(`${JSON.stringify(call)}\n`);
    if (call[0].endsWith("Wait")) {
      await isBlocked(caller.child.pid!);
      return { value: null };
    }
    const given = new AbortController();
    const late = sleep(answerMs, null, { signal: given.signal }).catch(() => null);
    const line = await Promise.race([caller.lines.next(), late]);
    given.abort();
    if (!line || line.done) {
      await this.close();
      throw new Error(`${JSON.stringify(call)} has ${line ? "ended its caller" : "no answer"}`);
    }
    return JSON.parse(line.value) as Answer;
  }

  async close(): Promise<void> {
    for (const { child, reader } of this.#callers.values()) {
      // It may be waiting in the kernel.
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      reader.close();
    }
    this.#callers.clear();
  }

  #caller(by: User, at: Place): Caller {
    // Places are processes of their own, also where they are on one node.
    const key = `${by} ${at}`;
    const known = this.#callers.get(key);
    if (known) return known;
    const { uid, gid } = users[by];
    const script = join(import.meta.dirname, "real-child.ts");
    const child = spawn(
      process.execPath,
      [script, this.#roots[at % this.#roots.length]!, String(uid), String(gid)],
      {
        stdio: ["pipe", "pipe", "inherit"],
      },
    );
    const reader = createInterface({ input: child.stdout });
    const caller = { child, reader, lines: reader[Symbol.asyncIterator]() };
    this.#callers.set(key, caller);
    return caller;
  }
}

/** Its call has reached the kernel, and waits there; or it has its answer already. */
async function isBlocked(pid: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const wchan = readFileSync(`/proc/${pid}/syscall`, "utf8");
    const number = wchan.split(" ")[0];
    if (lockCalls.has(number!)) return;
    await sleep(2);
  }
}
/** fcntl and flock of x86-64 and of arm64. */
const lockCalls = new Set(["72", "73", "25", "32"]);

export const mayActAsOthers = process.getuid?.() === 0;
