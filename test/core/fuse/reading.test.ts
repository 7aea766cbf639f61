/** Both ways of reading requests, over a pipe in the place of the device. */
import { afterEach, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Reading, ReadingUser } from "../../../core/fuse/reading.ts";
import { ThreadReading } from "../../../core/fuse/thread-reading.ts";
import { TurnReading } from "../../../core/fuse/turn-reading.ts";
import { readinessOf } from "../../../core/platform/readiness.ts";

/** One request is one byte. */
class Lab implements ReadingUser {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-reading-"));
  readonly fd: number;
  readonly requests: string[] = [];
  reading!: Reading;
  hasEnded = false;
  isBusy = false;
  free = 1;
  failures: string[] = [];

  constructor() {
    const path = join(this.dir, "fifo");
    spawnSync("mkfifo", [path]);
    this.fd = openSync(path, "r+");
  }

  take(): Uint8Array | null {
    if (this.free === 0) return null;
    this.free--;
    return new Uint8Array(1);
  }
  release(): void {
    this.free++;
    this.reading.fed();
  }
  came(buffer: Uint8Array, length: number): void {
    expect(length).toBe(1);
    this.requests.push(String.fromCharCode(buffer[0]!));
  }
  failed(error: NodeJS.ErrnoException): boolean {
    this.failures.push(error.code ?? error.message);
    return false;
  }

  ask(what: string): void {
    writeSync(this.fd, what);
  }
  /** Until so many have come. */
  async until(count: number): Promise<void> {
    while (this.requests.length < count) await Bun.sleep(1);
  }
  async close(): Promise<void> {
    this.hasEnded = true;
    // For one that waits in a thread.
    this.ask("xx");
    await Bun.sleep(20);
    closeSync(this.fd);
    rmSync(this.dir, { recursive: true });
  }
}

let lab: Lab;
afterEach(() => lab.close());

const isLinux = process.platform === "linux";
const ways = {
  threads: async () => new ThreadReading(lab.fd, lab, 1),
  turns: async () => new TurnReading(lab.fd, lab, (await readinessOf(lab.fd))!),
};

for (const [name, open] of Object.entries(ways)) {
  describe.skipIf(!isLinux)(`reading by ${name}`, () => {
    test("hands over requests in their order, also after long pauses", async () => {
      lab = new Lab();
      lab.reading = await open();
      lab.free = 8;
      lab.reading.start();
      for (const [i, what] of Array.from("abcdef").entries()) {
        lab.ask(what);
        await lab.until(i + 1);
        lab.release();
        lab.reading.answered();
        if (i % 2 === 0) await Bun.sleep(20);
      }
      expect(lab.requests.join("")).toBe("abcdef");
      expect(lab.failures).toEqual([]);
    });

    test("reads nothing more without a buffer, and goes on when there is one", async () => {
      lab = new Lab();
      lab.reading = await open();
      lab.reading.start();
      lab.ask("ab");
      await lab.until(1);
      await Bun.sleep(20);
      expect(lab.requests.join("")).toBe("a");
      lab.release();
      await lab.until(2);
      expect(lab.requests.join("")).toBe("ab");
    });

    test("others are served while one waits for its answer, and when it has got it", async () => {
      lab = new Lab();
      lab.reading = await open();
      lab.free = 8;
      lab.reading.start();
      lab.isBusy = true;
      lab.ask("a");
      await lab.until(1);
      // Nobody answers "a" for a long time.
      for (const [i, what] of Array.from("bcd").entries()) {
        await Bun.sleep(i * 5);
        lab.ask(what);
        await lab.until(i + 2);
        lab.reading.answered();
      }
      lab.isBusy = false;
      lab.reading.answered();
      lab.ask("e");
      await lab.until(5);
      expect(lab.requests.join("")).toBe("abcde");
    });
  });
}
