/**
 * A connection as a proxy sees it: bytes in order, until it breaks. core/platform/tcp.ts has such streams, and so has
 * the simulator. Calls of one side never call the other back before they return, but for `onClose` in `destroy`.
 */
export interface Wire {
  /** Bytes that write() has taken and the system has not. */
  readonly queued: number;
  /**
   * Takes all of the bytes, and borrows them until it returns. False: some of them are queued; no more should follow
   * before onDrain.
   */
  write(bytes: Uint8Array, start: number, end: number): boolean;
  /** Sends what is queued, then closes. */
  close(): void;
  /** Breaks it. */
  destroy(): void;
}

/** To whom a wire says what happens. After onClose nothing follows. */
export interface WireUser {
  onData(chunk: Uint8Array): void;
  onDrain(): void;
  /** The other side has sent its last byte. */
  onEnd(): void;
  onClose(): void;
}
