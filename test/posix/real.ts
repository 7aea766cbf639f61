/** Cases on real directories: of this machine, or of mounts, one for each place. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { type Answer, type Executor, type Place, type Step, type User, users } from "./calls.ts";

interface Caller {
  child: ChildProcess;
  lines: AsyncIterator<string>;
  reader: Interface;
}

/** Each root is an empty directory with mode 0777 that everybody may reach. Needs to be root. */
export class RealExecutor implements Executor {
  readonly #roots: readonly string[];
  readonly #callers = new Map<string, Caller>();

  constructor(roots: readonly string[]) {
    this.#roots = roots;
  }

  async run({ by, at, call }: Step): Promise<Answer> {
    const caller = this.#caller(by, at);
    caller.child.stdin!.write(`${JSON.stringify(call)}\n`);
    const line = await caller.lines.next();
    if (line.done) throw new Error(`the caller of ${JSON.stringify(call)} has ended`);
    return JSON.parse(line.value) as Answer;
  }

  async close(): Promise<void> {
    for (const { child, reader } of this.#callers.values()) {
      child.stdin!.end();
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
      reader.close();
    }
    this.#callers.clear();
  }

  #caller(by: User, at: Place): Caller {
    const place = at % this.#roots.length;
    const key = `${by} ${place}`;
    const known = this.#callers.get(key);
    if (known) return known;
    const { uid, gid } = users[by];
    const script = join(import.meta.dirname, "real-child.ts");
    const child = spawn(process.execPath, [script, this.#roots[place]!, String(uid), String(gid)], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const reader = createInterface({ input: child.stdout });
    const caller = { child, reader, lines: reader[Symbol.asyncIterator]() };
    this.#callers.set(key, caller);
    return caller;
  }
}

export const mayActAsOthers = process.getuid?.() === 0;
