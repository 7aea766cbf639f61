/**
 * The time of day for records, without its jumps: leases of modules are counted in it. When somebody sets the machine's
 * clock, this one follows by running up to half a percent faster or slower, which leases allow for; it never goes back.
 */
const slewShare = 0.005;

export class SlewedClock {
  readonly #steadyMs: () => number;
  readonly #wallMs: () => number;
  #lastMs: number;
  #time: number;

  /** `steadyMs` only goes on; `wallMs` is Unix time, which may jump. */
  constructor(steadyMs: () => number, wallMs: () => number = Date.now) {
    this.#steadyMs = steadyMs;
    this.#wallMs = wallMs;
    this.#lastMs = steadyMs();
    this.#time = wallMs();
  }

  /** Unix time in whole milliseconds. */
  nowMs(): number {
    const steadyMs = this.#steadyMs();
    const elapsedMs = Math.max(0, steadyMs - this.#lastMs);
    this.#lastMs = steadyMs;
    this.#time += elapsedMs;
    const slewMs = elapsedMs * slewShare;
    this.#time += Math.min(slewMs, Math.max(-slewMs, this.#wallMs() - this.#time));
    return Math.floor(this.#time);
  }
}
