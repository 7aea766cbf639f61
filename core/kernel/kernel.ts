/**
 * A kernel with a clock, a record log and links: what a container runs. It drives the machine and turns its effects
 * into promises; the rest of what may happen it hands to its host.
 */
import { DvsError } from "../errors.ts";
import { endpointNameCharsMax, kernelIdleTickMs, kernelTickMs } from "../limits.ts";
import type { BindOptions } from "./bindings.ts";
import { CallError } from "./call-error.ts";
import type { Call } from "./call.ts";
import { KernelMachine } from "./kernel-machine.ts";
import { type Privileges, privilegeBits } from "./privileges.ts";
import type { Proc } from "./proc.ts";
import { Process } from "./process.ts";
import type { KernelSink } from "./sink.ts";
import { Ticker } from "./ticker.ts";
import type { Member, RecordLog } from "./view.ts";

/** What the kernel's host does with its effects; what it leaves out does not happen to it. */
export type KernelHost = Partial<Omit<KernelSink, "complete" | "propose" | "wantFlush" | "wantTick">>;

export interface KernelStart {
  member: Omit<Member, "kernel">;
  log: RecordLog;
  /** Milliseconds of a clock that all host processes of the machine share. */
  uptimeMs: () => number;
  host?: KernelHost;
}

export interface BindRequest {
  name?: string;
  privileges?: Partial<Privileges>;
  /** 1: it makes one call at a time, and circles of such calls are found. */
  callsMax?: number;
}

export class Kernel {
  readonly machine: KernelMachine;
  readonly #start: KernelStart;
  readonly #abort = new AbortController();
  readonly #ticker: Ticker;
  /** By the clock of performance.now(). */
  #lookedMs = 0;
  #flushing = false;

  constructor(start: KernelStart) {
    this.#start = start;
    const { host = {} } = start;
    const sink: KernelSink = {
      transmit: () => true,
      freeze: () => {},
      thaw: () => {},
      moveStarted: (endpoint, g) => this.machine.abortMove(endpoint, g),
      moveOffered: (endpoint, g) => this.machine.declineMove(endpoint, g),
      moveEnded: () => {},
      promoted: () => {},
      ...host,
      complete: (call) => call.waiter!(call),
      propose: (ticket, record) => void this.#propose(ticket, record),
      wantFlush: () => this.#wantFlush(),
      wantTick: () => this.#ticker.soon(),
      exit: () => {
        this.stop();
        host.exit?.();
      },
    };
    const { uptimeMs } = start;
    this.#ticker = new Ticker({
      tick: () => this.#tick(),
      dueInMs: () => this.machine.dueMs - uptimeMs(),
      leastMs: kernelTickMs,
      mostMs: kernelIdleTickMs,
    });
    this.machine = new KernelMachine(sink, { member: start.member, nowMs: start.uptimeMs() });
  }

  /** Joins the instance. Records are read until `stop`; resolves then, or throws what the log threw. */
  async run(): Promise<void> {
    const { log, uptimeMs } = this.#start;
    this.#ticker.start();
    this.machine.join();
    for await (const record of log.follow(this.#abort.signal)) {
      this.machine.tick(uptimeMs());
      if ("snapshot" in record) this.machine.restore(record.snapshot);
      else this.machine.apply(record);
    }
  }

  /** First in each turn of the event loop in which something comes or goes. The clock is not read more than it moves. */
  tick(): void {
    const now = performance.now();
    if (now - this.#lookedMs < 1) return;
    this.#tick();
    this.#ticker.ticked();
  }

  #tick(): void {
    this.#lookedMs = performance.now();
    this.machine.tick(this.#start.uptimeMs());
  }

  stop(): void {
    this.#abort.abort();
    this.#ticker.stop();
  }

  /** Resolves when the process is bound and has its name. */
  async bind({ name, privileges, callsMax }: BindRequest = {}): Promise<Process> {
    if (callsMax !== undefined && (!Number.isSafeInteger(callsMax) || callsMax < 1)) {
      throw new DvsError("INVALID", `Cannot bind a process with ${callsMax} calls at a time: at least 1`);
    }
    if (name !== undefined && (name.length === 0 || name.length > endpointNameCharsMax)) {
      throw new DvsError(
        "INVALID",
        `Cannot bind a process with a name of ${name.length} characters: 1 to ${endpointNameCharsMax}`,
      );
    }
    const options: BindOptions = { privileges: privilegeBits(privileges) };
    if (name !== undefined) options.name = name;
    if (callsMax !== undefined) options.callsMax = callsMax;
    const call = this.machine.bind(options);
    await ended(call);
    if (call.outcome !== "OK") throw new CallError("bind", name ?? "a process", call.outcome!);
    return new Process(this.machine, call.result!.body as Proc);
  }

  async #propose(...[ticket, record]: Parameters<KernelSink["propose"]>): Promise<void> {
    const id = crypto.randomUUID();
    try {
      const index = await this.#start.log.propose(id, record);
      this.machine.proposed(ticket, { index });
    } catch (e) {
      const isUnknown = DvsError.from(e).code !== "UNAVAILABLE";
      this.machine.proposed(ticket, isUnknown ? "unknown" : "unavailable");
    }
  }

  #wantFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    setImmediate(() => {
      this.#flushing = false;
      this.tick();
      this.machine.flush();
    });
  }
}

function ended(call: Call): Promise<void> {
  if (call.outcome !== null) return Promise.resolve();
  return new Promise((resolve) => (call.waiter = () => resolve()));
}
