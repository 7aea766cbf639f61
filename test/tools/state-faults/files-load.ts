/**
 * Clients of an instance's files on every node, under faults. Files are used as registers of values that are written
 * once, so that what clients were told is judged as any history of registers is: linearizable, nothing acknowledged is
 * lost, nothing is carried out twice. Five kinds of them, for the operations that programs build on:
 *
 * - `content`: a file that is replaced as editors do it (new file, write, rename over), or unlinked
 * - `link`: a symbolic link that is replaced the same way
 * - `entry`: a directory with one entry, whose name is the value; renamed from what was seen: a compare-and-set
 * - `record`: bytes that are overwritten in place, by handles that stay open
 * - and beside them a file that all append to, and a counter that is read and written under a lock.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../../core/errors.ts";
import { FileError } from "../../../core/files/errno.ts";
import { type FileSystem, type OpenFile, rootIno } from "../../../core/files/file-system.ts";
import { type Call, History, type Value } from "../../sim/replica/history.ts";
import { violation } from "../../sim/replica/linearizability.ts";
import type { Totals } from "./load.ts";

export interface FilesClient {
  name: string;
  fs: FileSystem;
}

const pauseMsMax = 15;
const settleMs = 20;
const settleTries = 1_500;
const recordBytes = 32;
const read = { read: true };
const kinds = ["content", "content", "link", "entry", "record"] as const;
type Kind = (typeof kinds)[number];

interface Register {
  kind: Kind;
  key: string;
  /** Of an entry's directory. */
  ino: number;
}

interface Round {
  dir: number;
  registers: Register[];
  history: History;
  acknowledgements: number[];
  /** Lines by what is known of them. */
  appended: { done: Set<string>; refused: Set<string>; unknown: Set<string> };
  counted: { done: number; unknown: number };
}

export class FilesLoad {
  readonly totals: Totals = { reads: 0, writes: 0, refused: 0, unknown: 0 };
  readonly #clients: readonly FilesClient[];
  readonly #random: () => number;
  readonly #mistakes: string[] = [];
  #values = 0;
  #rounds = 0;
  #round: Round | null = null;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(clients: readonly FilesClient[], random: () => number) {
    this.#clients = clients;
    this.#random = random;
  }

  async begin(): Promise<void> {
    const { fs } = this.#clients[0]!;
    const { ino: dir } = await fs.makeDirectory(rootIno, `round-${++this.#rounds}`, 0o755);
    const history = new History();
    const registers: Register[] = [];
    for (const [i, kind] of kinds.entries()) {
      const key = `${kind}-${i}`;
      registers.push({ kind, key, ino: 0 });
      if (kind !== "entry" && kind !== "record") continue;
      const call = history.begin("the first", key, { kind: "write", value: "first" });
      if (kind === "entry") {
        const { ino } = await fs.makeDirectory(dir, key, 0o755);
        registers.at(-1)!.ino = ino;
        await (await fs.create(ino, "first", 0o644, read)).file.close();
      } else await put(fs, dir, key, padded("first"));
      history.end(call, "");
    }
    await put(fs, dir, "log", new Uint8Array(0));
    await put(fs, dir, "counter", padded("0"));
    this.#round = {
      dir,
      registers,
      history,
      acknowledgements: [],
      appended: { done: new Set(), refused: new Set(), unknown: new Set() },
      counted: { done: 0, unknown: 0 },
    };
    this.#stopping = false;
    const round = this.#round;
    this.#running = Promise.all(
      this.#clients.flatMap((client) => [this.#work(client, round), this.#appendAndCount(client, round)]),
    );
  }

  /** So many writes have been acknowledged in this round. */
  async acknowledged(count: number): Promise<void> {
    const { acknowledgements } = this.#round!;
    const before = acknowledgements.length;
    for (let i = 0; i < settleTries; i++) {
      if (acknowledgements.length >= before + count) return;
      await sleep(settleMs);
    }
    throw new Error(`no ${count} writes were acknowledged`);
  }

  /** The longest time between two acknowledged writes since then, in milliseconds. */
  longestGapMs(sinceMs: number): number {
    const after = this.#round!.acknowledgements.filter((ms) => ms > sinceMs);
    const times = [sinceMs, ...after, performance.now()];
    return Math.max(...times.slice(1).map((ms, i) => ms - times[i]!));
  }

  /** Ends the round, with a last look at everything from every client. What is wrong, in words. */
  async end(): Promise<string[]> {
    this.#stopping = true;
    await this.#running;
    const round = this.#round!;
    for (const client of this.#clients) {
      for (const register of round.registers) await this.#read(client, round, register);
      await this.#lookAtLog(client, round);
      await this.#lookAtCounter(client, round);
    }
    const wrong = violation(round.history.calls);
    if (wrong) this.#mistakes.push(wrong);
    return this.#mistakes.splice(0);
  }

  close(): void {
    this.#stopping = true;
  }

  async #work(client: FilesClient, round: Round): Promise<void> {
    const handles = new Map<Register, OpenFile>();
    const seen = new Map<Register, Value>();
    while (!this.#stopping) {
      const register = round.registers[Math.floor(this.#random() * round.registers.length)]!;
      const dice = this.#random();
      const known = seen.get(register);
      if (dice < 0.5 || (register.kind === "entry" && known === undefined)) {
        const found = await this.#read(client, round, register);
        if (found !== undefined) seen.set(register, found);
      } else if (register.kind === "entry") {
        seen.delete(register);
        await this.#compareAndSet(client, round, register, known!);
      } else if (register.kind === "record") await this.#overwrite(client, round, register, handles);
      else if (dice > 0.92) await this.#unlink(client, round, register);
      else await this.#replace(client, round, register);
      await sleep(this.#random() * pauseMsMax);
    }
    for (const handle of handles.values()) await handle.close();
  }

  /** Undefined: nobody answered. */
  async #read({ name, fs }: FilesClient, round: Round, register: Register): Promise<Value | undefined> {
    const call = round.history.begin(name, register.key, { kind: "read", value: null });
    try {
      // What was looked up may have been replaced before it is opened: the name has another one then.
      for (let tries = 0; ; tries++) {
        try {
          const value = await valueOf(fs, round.dir, register);
          round.history.end(call, name, value);
          this.totals.reads++;
          return value;
        } catch (e) {
          const gone = e instanceof FileError && (e.code === "ENOENT" || e.code === "ESTALE");
          if (!gone || tries > 100) throw e;
        }
      }
    } catch (e) {
      if (codeOf(e) !== "UNAVAILABLE")
        this.#mistakes.push(`a read of ${register.key} at ${name}: ${String(e)}`);
      round.history.refuse(call);
      return undefined;
    }
  }

  async #replace({ name, fs }: FilesClient, round: Round, { kind, key }: Register): Promise<void> {
    const value = this.#newValue(name);
    const temporary = `new-${value}`;
    try {
      if (kind === "link") await fs.makeSymlink(round.dir, temporary, value);
      else await put(fs, round.dir, temporary, new TextEncoder().encode(value));
    } catch (e) {
      // Nobody looks at it.
      if (codeOf(e) === "") this.#mistakes.push(`a new file at ${name}: ${String(e)}`);
      return;
    }
    const call = round.history.begin(name, key, { kind: "write", value });
    await this.#write(call, round, () => fs.rename(round.dir, temporary, round.dir, key));
  }

  async #unlink({ name, fs }: FilesClient, round: Round, { key }: Register): Promise<void> {
    const call = round.history.begin(name, key, { kind: "write", value: null });
    await this.#write(call, round, async () => {
      try {
        await fs.unlink(round.dir, key);
      } catch (e) {
        if (!(e instanceof FileError && e.code === "ENOENT")) throw e;
      }
    });
  }

  async #compareAndSet(
    { name, fs }: FilesClient,
    round: Round,
    register: Register,
    expected: Value,
  ): Promise<void> {
    const value = this.#newValue(name);
    const { key, ino } = register;
    const call = round.history.begin(name, key, { kind: "cas", expected, value, actual: null });
    await this.#write(call, round, async () => {
      try {
        await fs.rename(ino, expected!, ino, value, "noReplace");
      } catch (e) {
        if (!(e instanceof FileError && e.code === "ENOENT")) throw e;
        return "not done";
      }
    });
  }

  async #overwrite(
    { name, fs }: FilesClient,
    round: Round,
    register: Register,
    handles: Map<Register, OpenFile>,
  ): Promise<void> {
    let handle = handles.get(register);
    if (!handle) {
      try {
        const { ino } = await fs.lookup(round.dir, register.key);
        handle = await fs.open(ino, { read: true, write: true });
      } catch (e) {
        if (codeOf(e) === "") this.#mistakes.push(`an open at ${name}: ${String(e)}`);
        return;
      }
      handles.set(register, handle);
    }
    const value = this.#newValue(name);
    const call = round.history.begin(name, register.key, { kind: "write", value });
    await this.#write(call, round, () => handle.write(0, padded(value)));
  }

  async #write(call: Call, round: Round, write: () => Promise<unknown>): Promise<void> {
    const { client, action } = call;
    try {
      const outcome = await write();
      if (outcome === "not done") return round.history.refuse(call);
      this.totals.writes++;
      if (action.kind === "cas") round.history.end(call, client, action.expected);
      else round.history.end(call, client);
      round.acknowledgements.push(performance.now());
    } catch (e) {
      if (codeOf(e) === "OUTCOME_UNKNOWN") {
        this.totals.unknown++;
        return;
      }
      if (codeOf(e) !== "UNAVAILABLE")
        this.#mistakes.push(`a write of ${call.key} at ${client}: ${String(e)}`);
      this.totals.refused++;
      round.history.refuse(call);
    }
  }

  async #appendAndCount({ name, fs }: FilesClient, round: Round): Promise<void> {
    const { appended, counted } = round;
    const [log, counter] = await Promise.all(
      ["log", "counter"].map(async (file) => {
        const { ino } = await fs.lookup(round.dir, file);
        return fs.open(ino, { read: true, write: true, append: file === "log" });
      }),
    );
    while (!this.#stopping) {
      const line = this.#newValue(name);
      await this.#outcome(
        () => log!.write(0, new TextEncoder().encode(`${line}\n`)),
        (outcome) => appended[outcome].add(line),
      );
      await this.#count(counter!, name, counted);
      await sleep(this.#random() * pauseMsMax * 4);
    }
    await log!.close();
    await counter!.close({ flockOwner: name });
  }

  /** As programs count: lock, read, write, unlock. */
  async #count(counter: OpenFile, name: string, counted: Round["counted"]): Promise<void> {
    const whole = { type: "flock", range: { start: 0, end: Infinity }, owner: name } as const;
    const locked = await this.#outcome(() => counter.lock({ ...whole, kind: "exclusive", wait: true }));
    if (locked === "done") {
      const found = await counter.read(0, recordBytes).catch(() => null);
      if (found) {
        const next = padded(String(Number(textOf(found)) + 1));
        const outcome = await this.#outcome(() => counter.write(0, next));
        if (outcome !== "refused") counted[outcome]++;
      }
    }
    // It is to be given back, whatever became of it: nobody else could count.
    while ((await this.#outcome(() => counter.lock({ ...whole, kind: "none" }))) !== "done")
      await sleep(settleMs);
  }

  async #outcome<T>(
    act: () => Promise<T>,
    tell: (outcome: "done" | "refused" | "unknown") => unknown = () => undefined,
  ): Promise<"done" | "refused" | "unknown"> {
    let outcome: "done" | "refused" | "unknown" = "done";
    try {
      await act();
    } catch (e) {
      const code = codeOf(e);
      outcome = code === "OUTCOME_UNKNOWN" ? "unknown" : "refused";
      if (code === "") this.#mistakes.push(String(e));
    }
    tell(outcome);
    return outcome;
  }

  async #lookAtLog({ name, fs }: FilesClient, round: Round): Promise<void> {
    const { done, refused } = round.appended;
    const lines = textOf(await contentOf(fs, round.dir, "log"))
      .split("\n")
      .filter((line) => line !== "");
    const times = new Map<string, number>();
    for (const line of lines) times.set(line, (times.get(line) ?? 0) + 1);
    for (const [line, count] of times) {
      if (count > 1) this.#mistakes.push(`${line} was appended ${count} times, as ${name} sees it`);
      if (refused.has(line)) this.#mistakes.push(`${line} was refused, and appended`);
    }
    for (const line of done)
      if (!times.has(line)) this.#mistakes.push(`${name} does not see ${line}, which was appended`);
  }

  async #lookAtCounter({ name, fs }: FilesClient, { dir, counted }: Round): Promise<void> {
    const value = Number(textOf(await contentOf(fs, dir, "counter")));
    if (value >= counted.done && value <= counted.done + counted.unknown) return;
    this.#mistakes.push(
      `${name} sees the counter at ${value}: ${counted.done} were counted under the lock, and ${counted.unknown} perhaps`,
    );
  }

  #newValue(name: string): string {
    return `${name}-${++this.#values}`;
  }
}

async function valueOf(fs: FileSystem, dir: number, { kind, key, ino }: Register): Promise<Value> {
  if (kind === "entry") {
    const entries = await fs.entries(ino, 0, 10);
    if (entries.length !== 1) throw new Error(`a directory of one entry has ${entries.length}`);
    return entries[0]!.name;
  }
  const found = await fs.lookup(dir, key).catch((e: unknown) => {
    if (e instanceof FileError && e.code === "ENOENT") return null;
    throw e;
  });
  if (!found) return null;
  if (kind === "link") return fs.readLink(found.ino);
  const file = await fs.open(found.ino, read);
  try {
    return textOf(await file.read(0, recordBytes * 2));
  } finally {
    await file.close();
  }
}

async function contentOf(fs: FileSystem, dir: number, name: string): Promise<Uint8Array> {
  const { ino, size } = await fs.lookup(dir, name);
  const file = await fs.open(ino, read);
  try {
    return await file.read(0, size);
  } finally {
    await file.close();
  }
}

async function put(fs: FileSystem, dir: number, name: string, bytes: Uint8Array): Promise<void> {
  const { file } = await fs.create(dir, name, 0o644, { write: true });
  try {
    await file.write(0, bytes);
  } finally {
    await file.close();
  }
}

function padded(value: string): Uint8Array {
  return new TextEncoder().encode(value.padEnd(recordBytes, " "));
}
function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).trimEnd();
}
function codeOf(e: unknown): string {
  return e instanceof DvsError ? e.code : "";
}
