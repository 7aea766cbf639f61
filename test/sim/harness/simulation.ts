/**
 * One run of a simulated cluster: a function of its seed. Everything in it takes time, randomness and messages from
 * here, so a run that failed once fails the same way again.
 */
import { Host } from "./host.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";
import { Scheduler, type Task } from "./scheduler.ts";
import { Trace } from "./trace.ts";

export class Simulation {
  readonly seed: number;
  readonly random: Random;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly trace: Trace;
  /** How often each hard case happened: a test that never meets them proves nothing. */
  readonly counts = new Map<string, number>();
  /** Checked after each task; throws when something is not as promised. */
  invariant: (() => void) | undefined;

  constructor(seed: number, sink?: (line: string) => void) {
    this.seed = seed;
    this.random = new Random(seed);
    this.scheduler = new Scheduler(this.random);
    this.network = new Network(this);
    this.trace = new Trace(sink);
  }

  get nowMs(): number {
    return this.scheduler.nowMs;
  }

  host(id: string): Host {
    return new Host(this, id);
  }

  after(delayMs: number, run: () => void): Task {
    return this.scheduler.after(delayMs, run);
  }

  log(line: string): void {
    this.trace.add(this.nowMs, line);
  }

  count(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }

  /** Runs for that long of virtual time. */
  run(durationMs: number): void {
    const untilMs = this.nowMs + durationMs;
    while (this.scheduler.step(untilMs)) this.invariant?.();
    this.scheduler.nowMs = untilMs;
  }

  /** Runs until it holds; false when it did not within that time. */
  runUntil(holds: () => boolean, durationMs: number): boolean {
    const untilMs = this.nowMs + durationMs;
    while (!holds()) {
      if (!this.scheduler.step(untilMs)) return holds();
      this.invariant?.();
    }
    return true;
  }
}

/** A run that broke a promise: its seed is all that is needed to see it again. */
export class SimulationFailed extends Error {
  readonly sim: Simulation;
  constructor(sim: Simulation, cause: unknown) {
    super(`seed ${sim.seed}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = "SimulationFailed";
    this.sim = sim;
  }
}
