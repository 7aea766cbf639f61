/** The key-value as a client on a machine has it, for whoever is not on that machine: client-main.ts carries it out. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";
import type { KvOptions } from "../../../core/state/client/key-value.ts";
import type { KvEntry, KvEvent, KvResult } from "../../../core/state/modules/kv-messages.ts";
import type { LoadedKv } from "../state-faults/load.ts";
import { type Answered, type Asked, decoded, encoded, toEvent } from "./asked.ts";

const script = new URL("./client-main.ts", import.meta.url).pathname;
const timeoutMs = 3_000;

type Question = Asked extends infer A ? (A extends unknown ? Omit<A, "id"> : never) : never;

export class FarClient implements LoadedKv {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answered: Answered) => void>();
  #ids = 0;

  /** `wrap`: what brings a command onto the machine. */
  constructor(wrap: string[], dataDir: string, uid: string, reads: "local" | "remote") {
    const [command, ...args] = [...wrap, process.execPath, "--no-install", script, dataDir, uid, reads];
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    createInterface({ input: this.#child.stdout! }).on("line", (line) => {
      const answered = JSON.parse(line) as Answered;
      this.#waiting.get(answered.id)?.(answered);
    });
    this.#child.once("exit", () => {
      for (const [id, tell] of this.#waiting)
        tell({ id, error: { code: "INTERNAL", message: "the client on the machine has ended" } });
    });
  }

  async get(key: string, ms = timeoutMs): Promise<KvEntry | null> {
    const { entry } = await this.#ask<{ entry: { value: string; revision: number } | null }>({
      what: "get",
      key,
      timeoutMs: ms,
    });
    return entry && { key, value: encoded(entry.value), revision: entry.revision };
  }

  async put(key: string, value: Uint8Array, options: KvOptions = {}): Promise<KvResult> {
    const { ifRevision = null, timeoutMs: ms = timeoutMs } = options;
    const asked = { what: "put" as const, key, value: decoded(value), ifRevision, timeoutMs: ms };
    return (await this.#ask<{ result: KvResult }>(asked)).result;
  }

  async delete(key: string, options: Omit<KvOptions, "lease"> = {}): Promise<KvResult> {
    const asked = { what: "delete" as const, key, timeoutMs: options.timeoutMs ?? timeoutMs };
    return (await this.#ask<{ result: KvResult }>(asked)).result;
  }

  async *watch(prefix: string, after: number | undefined, signal: AbortSignal): AsyncGenerator<KvEvent> {
    const told: Answered[] = [];
    let wake = () => {};
    const id = ++this.#ids;
    this.#waiting.set(id, (answered) => {
      told.push(answered);
      wake();
    });
    signal.addEventListener("abort", () => wake(), { once: true });
    this.#send({ id, what: "watch", prefix, after: after ?? 0 });
    try {
      while (!signal.aborted) {
        const next = told.shift();
        if (!next) await new Promise<void>((resolve) => (wake = resolve));
        else if ("event" in next) yield toEvent(next.event);
        else throw errorOf(next);
      }
    } finally {
      this.#waiting.delete(id);
      this.#send({ id, what: "end" });
    }
  }

  close(): void {
    this.#child.stdin!.end();
  }

  #ask<T>(question: Question): Promise<T> {
    const id = ++this.#ids;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, (answered) => {
        this.#waiting.delete(id);
        if ("error" in answered) reject(errorOf(answered));
        else resolve(answered as T);
      });
      this.#send({ ...question, id });
    });
  }

  #send(asked: Asked): void {
    if (this.#child.stdin!.writable) this.#child.stdin!.write(`${JSON.stringify(asked)}\n`);
  }
}

function errorOf(answered: Answered): DvsError {
  if (!("error" in answered))
    return new DvsError("INTERNAL", `an answer of another kind: ${JSON.stringify(answered)}`);
  return new DvsError(answered.error.code as ErrorCode, answered.error.message);
}
