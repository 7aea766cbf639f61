/**
 * A client that is no kernel says again and again that it is there: nobody else would notice its end, and what it has
 * open or locked goes when it was silent for too long. One that comes back by then has lost it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { FileOperation } from "../operations.ts";
import { Changed } from "./results.ts";

export interface AttendanceOptions {
  ttlMs: number;
  operate: (operation: FileOperation) => Promise<unknown>;
  /** What it had open is open no more: it is to be told anew. */
  lost: () => void;
  signal: AbortSignal;
}

/**
 * Until the signal. Never rejects. What was its own may also be taken from it and all gone before it is heard again:
 * so whoever was not heard for its time, counted from when it last spoke, tells anew, too.
 */
export async function attend({ ttlMs, operate, lost, signal }: AttendanceOptions): Promise<void> {
  let isLost = false;
  let heardMs = performance.now();
  while (!signal.aborted) {
    try {
      const saidMs = performance.now();
      await operate([17, ttlMs]);
      if (isLost || performance.now() - heardMs >= ttlMs) lost();
      isLost = false;
      heardMs = saidMs;
    } catch (e) {
      // What was its own is being taken from it: it is another one when that is done.
      isLost ||= e instanceof Changed;
    }
    await sleep(isLost ? retryMs : ttlMs / 3, null, { signal, ref: false }).catch(() => undefined);
  }
}

const retryMs = 100;
