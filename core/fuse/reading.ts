/** How requests are read from /dev/fuse: turn-reading.ts, and thread-reading.ts where that cannot be. */
export interface Reading {
  start(): void;
  /** Some request got its answer. */
  answered(): void;
  /** There is a buffer again. */
  fed(): void;
}

export interface ReadingUser {
  /** Nothing is to be read any more. */
  readonly hasEnded: boolean;
  /** Some request has no answer yet. */
  readonly isBusy: boolean;
  /** Null: all are in use; `fed` is called when one is not any more. */
  take(): Uint8Array | null;
  /** It was not needed. */
  release(buffer: Uint8Array): void;
  /** It holds a request. */
  came(buffer: Uint8Array, length: number): void;
  /** Nothing was read. Whether to go on: its caller was killed, or a signal came. */
  failed(error: NodeJS.ErrnoException): boolean;
}
