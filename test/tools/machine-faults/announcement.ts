/** When `dvs status` says in plain words that an instance is paused, and what it says. */
import type { RealMachines } from "./real-machines.ts";

export interface Announced {
  /** The machine on which it was asked. */
  at: number;
  /** Since the fault began; null: not while it was waited for. Includes the command's own time. */
  afterMs: number | null;
  /** The line that says so, or the last that was said. */
  words: string;
}

const saysPause = /writes fail|nobody serves|is paused|pauses/;

/** Asks again and again on each of these machines until it is said, or `forMs` after `beganMs`. */
export function announcement(
  machines: RealMachines,
  asked: readonly number[],
  beganMs: number,
  forMs: number,
): Promise<Announced[]> {
  return Promise.all(asked.map((at) => announcedAt(machines, at, beganMs, forMs)));
}

async function announcedAt(
  machines: RealMachines,
  at: number,
  beganMs: number,
  forMs: number,
): Promise<Announced> {
  let words = "nothing";
  for (;;) {
    const leftMs = beganMs + forMs - performance.now();
    if (leftMs <= 0) return { at, afterMs: null, words };
    const { text } = await machines.status(at, leftMs);
    const lines = text.trim().split("\n");
    const said = lines.find((line) => saysPause.test(line));
    if (said !== undefined) return { at, afterMs: performance.now() - beganMs, words: said.trim() };
    words = lines.at(-1) ?? words;
  }
}
