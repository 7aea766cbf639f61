/**
 * Standing by and acting, in turns, as leadership comes and goes. A coordinator that was deposed stands by again in the
 * same host process: with --ha its part of the store must not go down because another one acts.
 */
import { StoreError } from "../store/store.ts";
import { keepDisk } from "./housekeeping.ts";
import { campaign } from "./leadership.ts";
import type { Reception } from "./reception.ts";
import { beginTerm, type TermOptions } from "./term.ts";

export interface TurnsOptions extends Omit<TermOptions, "leadership" | "signal" | "onEnd"> {
  reception: Reception;
  /** Ends them all. */
  signal: AbortSignal;
  /** Another coordinator leads, or this one acts: there is somebody who answers. */
  onAnswering(acting: boolean): void;
}

/** Resolves when the signal has aborted, or with `defect` when a controller has failed. */
export async function takeTurns(options: TurnsOptions): Promise<{ defect: boolean }> {
  const { reception, signal, log } = options;
  while (!signal.aborted) {
    const over = new AbortController();
    const turn = AbortSignal.any([signal, over.signal]);
    let defect = false;
    const onEnd = (reason: string, isDefect: boolean) => {
      if (turn.aborted) return;
      log(isDefect ? "error" : "warn", `no longer the acting coordinator: ${reason}`);
      defect = isDefect;
      over.abort();
    };
    const leadership = await standBy(options, (reason) => onEnd(reason, false));
    if (!leadership) break;
    const term = await beginTerm({ ...options, leadership, signal: turn, onEnd }).catch((e: unknown) => {
      if (!(e instanceof StoreError)) throw e;
      onEnd(e.message, false);
      return null;
    });
    if (term) {
      reception.setActing(term.acting);
      log("info", "this coordinator acts");
      options.onAnswering(true);
      await aborted(turn);
      reception.setActing(null);
      await term.end();
    }
    await leadership.resign();
    if (defect) return { defect };
  }
  return { defect: false };
}

async function standBy(options: TurnsOptions, onLost: (reason: string) => void) {
  const { id, store, members, reception, images, timing, signal, log } = options;
  const over = new AbortController();
  const keeping = keepDisk({
    images,
    signal: AbortSignal.any([signal, over.signal]),
    log,
    ...(timing ? { timing } : {}),
  });
  try {
    return await campaign({
      store,
      holder: id,
      address: options.addresses().api,
      signal,
      onLost,
      onLeader(holder) {
        reception.setLeader(holder);
        if (holder !== "" && holder !== id && members.get(holder)) options.onAnswering(false);
      },
      onTrouble(message) {
        reception.setTrouble(message);
        log("warn", `the store does not answer: ${message}`);
      },
    });
  } finally {
    over.abort();
    await keeping;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
