/**
 * What this client has open, inode by inode, and that the replicas know it. A file stays some seconds after its last
 * name has gone (orphanKeptMs), so only what stays open longer than a part of that is told, and most opens cost
 * nothing. What is closed is told in batches, later.
 *
 *     none ─ take ─▶ untold ─ after openToldMs ─▶ asking ─▶ told ─ last give ─▶ released in a batch
 *                      └─ last give ─▶ none
 */
import { setTimeout } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../errors.ts";
import { openRetryMs, openToldMs, releaseInosMax, releaseMs } from "../../limits.ts";
import { FileError } from "../errno.ts";
import type { FileOperation } from "../operations.ts";

interface Open {
  count: number;
  state: "untold" | "asking" | "told";
  /** It is told once this is over; null: at once. */
  asking: Promise<void> | null;
}

export class Opens {
  readonly #operate: (operation: FileOperation) => Promise<unknown>;
  readonly #open = new Map<number, Open>();
  /** Untold, in the order in which they were opened. */
  #untold: { ino: number; open: Open; atMs: number }[] = [];
  #tellTimer: ReturnType<typeof setTimeout> | undefined;
  /** Told, and closed. */
  readonly #toRelease = new Set<number>();
  #releaseTimer: ReturnType<typeof setTimeout> | undefined;
  /** By inode, until it is known to be released. */
  readonly #releasing = new Map<number, Promise<void>>();
  #closed = false;

  constructor(operate: (operation: FileOperation) => Promise<unknown>) {
    this.#operate = operate;
  }

  /** How many there are. */
  get size(): number {
    return this.#open.size;
  }

  /** One more. `atOnce`: nothing else keeps it; resolves when it is told then. */
  async take(ino: number, atOnce = false): Promise<void> {
    const open = this.#count(ino);
    if (!atOnce || open.state === "told") return;
    try {
      await this.#tell(ino, open);
    } catch (e) {
      this.give(ino);
      throw e;
    }
  }

  /** One more, by an operation that has told it. */
  taken(ino: number): void {
    this.#count(ino).state = "told";
  }

  /** The replicas have forgotten what was told. */
  tellAgain(): void {
    for (const [ino, open] of this.#open) {
      if (open.state !== "told") continue;
      open.state = "untold";
      this.#tell(ino, open).catch(() => undefined);
    }
  }

  give(ino: number): void {
    const open = this.#open.get(ino);
    if (!open || --open.count > 0 || open.state === "asking") return;
    this.#open.delete(ino);
    if (open.state === "told") this.#release(ino);
  }

  /** Tells what is closed by now. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#tellTimer);
    for (const [ino, open] of this.#open) if (open.state === "told") this.#toRelease.add(ino);
    this.#open.clear();
    await this.#flush();
  }

  #count(ino: number): Open {
    const known = this.#open.get(ino);
    if (known) {
      known.count++;
      return known;
    }
    // Told once, and not yet taken back.
    const isTold = this.#toRelease.delete(ino);
    const open: Open = { count: 1, state: isTold ? "told" : "untold", asking: null };
    this.#open.set(ino, open);
    if (!isTold) {
      this.#untold.push({ ino, open, atMs: performance.now() });
      this.#tellTimer ??= setTimeout(() => this.#tellLongOpen(), openToldMs).unref();
    }
    return open;
  }

  #tellLongOpen(): void {
    this.#tellTimer = undefined;
    const nowMs = performance.now();
    const due = this.#untold.findIndex(({ atMs }) => atMs + openToldMs > nowMs + 1);
    const long = due < 0 ? this.#untold : this.#untold.slice(0, due);
    this.#untold = due < 0 ? [] : this.#untold.slice(due);
    for (const { ino, open } of long) {
      if (open.count > 0 && open.state === "untold") this.#tell(ino, open).catch(() => undefined);
    }
    const next = this.#untold[0];
    if (next && !this.#closed) {
      const ms = Math.max(1, next.atMs + openToldMs - nowMs);
      this.#tellTimer = setTimeout(() => this.#tellLongOpen(), ms).unref();
    }
  }

  /** Again and again while it is open. Rejects with a FileError where there is no such file any more. */
  #tell(ino: number, open: Open): Promise<void> {
    return (open.asking ??= this.#ask(ino, open).finally(() => (open.asking = null)));
  }

  async #ask(ino: number, open: Open): Promise<void> {
    open.state = "asking";
    try {
      await this.#askUntilAnswered(ino, open);
      open.state = "told";
    } catch (e) {
      open.state = "untold";
      if (open.count === 0) this.#open.delete(ino);
      throw e;
    }
    if (open.count > 0) return;
    // Closed meanwhile.
    this.#open.delete(ino);
    this.#release(ino);
  }

  async #askUntilAnswered(ino: number, open: Open): Promise<void> {
    for (;;) {
      await this.#releasing.get(ino);
      try {
        await this.#operate([8, ino]);
        return;
      } catch (e) {
        if (e instanceof FileError || this.#closed || !(e instanceof DvsError)) throw e;
        // It may have been told, which giving it back undoes.
        if (open.count === 0) return;
        await sleep(openRetryMs, null, { ref: false });
      }
    }
  }

  #release(ino: number): void {
    this.#toRelease.add(ino);
    if (this.#toRelease.size >= releaseInosMax) void this.#flush();
    // It keeps no host process from ending: who is gone has nothing open.
    else this.#releaseTimer ??= setTimeout(() => void this.#flush(), releaseMs).unref();
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#releaseTimer);
    this.#releaseTimer = undefined;
    if (this.#toRelease.size === 0) return;
    const inos = [...this.#toRelease].slice(0, releaseInosMax);
    for (const ino of inos) this.#toRelease.delete(ino);
    const released = this.#operate([9, inos]).then(
      () => undefined,
      (e: unknown) => {
        if (this.#closed || !(e instanceof DvsError)) return;
        // Opened again meanwhile: then they are told, or will be.
        for (const ino of inos) if (!this.#open.has(ino)) this.#release(ino);
      },
    );
    for (const ino of inos) this.#releasing.set(ino, released);
    await released;
    for (const ino of inos) if (this.#releasing.get(ino) === released) this.#releasing.delete(ino);
    if (this.#closed) await this.#flush();
  }
}
