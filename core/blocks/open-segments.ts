/** Files of segments that are open: those used last stay open, so that a read of a block is one system call. */
import type { Done, LogFile, LogFiles } from "../log/log-files.ts";
import { segmentName } from "./segment-name.ts";

interface Open {
  file: LogFile | null;
  /** Under way, or waiting for the file. */
  users: number;
  /** Called when the file is open, or cannot be opened. */
  waiting: ((error: Error | null) => void)[];
  /** Closed when nobody uses it any more. */
  isForgotten: boolean;
}

export class OpenSegments {
  readonly #files: LogFiles;
  readonly #max: number;
  /** The one used last is the last. */
  readonly #open = new Map<number, Open>();

  constructor(files: LogFiles, max: number) {
    this.#files = files;
    this.#max = max;
  }

  /** `act` gets the file of the segment, which stays open until it calls `done`. "create" empties it. */
  use<T>(
    segment: number,
    how: "create" | "write" | "read",
    act: (file: LogFile, done: Done<T>) => void,
    done: Done<T>,
  ): void {
    const open = this.#get(segment, how);
    open.users++;
    const end = (error: Error | null, value?: T): void => {
      open.users--;
      this.#closeUnused();
      if (open.isForgotten && open.users === 0) close(open);
      done(error, value);
    };
    if (open.file) act(open.file, end);
    else open.waiting.push((error) => (error ? end(error) : act(open.file!, end)));
  }

  /** The next use opens it anew: its file has gone, or is to go. */
  forget(segment: number): void {
    const open = this.#open.get(segment);
    if (!open) return;
    this.#open.delete(segment);
    open.isForgotten = true;
    if (open.users === 0) close(open);
  }

  forgetAll(): void {
    for (const segment of this.#open.keys()) this.forget(segment);
  }

  #get(segment: number, how: "create" | "write" | "read"): Open {
    const known = this.#open.get(segment);
    if (known) {
      this.#open.delete(segment);
      this.#open.set(segment, known);
      return known;
    }
    const open: Open = { file: null, users: 0, waiting: [], isForgotten: false };
    this.#open.set(segment, open);
    this.#files.open(segmentName(segment), how, (error, file) => {
      open.file = file ?? null;
      if (error && this.#open.get(segment) === open) this.#open.delete(segment);
      const { waiting } = open;
      open.waiting = [];
      for (const go of waiting) go(error);
    });
    return open;
  }

  #closeUnused(): void {
    if (this.#open.size <= this.#max) return;
    for (const [segment, open] of this.#open) {
      if (open.users > 0) continue;
      this.forget(segment);
      if (this.#open.size <= this.#max) return;
    }
  }
}

function close(open: Open): void {
  // Nothing depends on it: what was written is in the file, and what has to be on the disk is synced.
  open.file?.close(() => undefined);
  open.file = null;
}
