/**
 * The agent's side of the protocol: keeps the stream of messages open, and sends heartbeats on requests of their
 * own, so that a large message or a slow stream never delays a sign of life.
 */
import type { Heartbeat, Report, ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import {
  agentRequestTimeoutMs,
  heartbeatMs,
  reconnectMaxMs,
  reconnectMinMs,
  streamSilentMs,
} from "../limits.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { limited, pause } from "./limited.ts";
import type { Log } from "./supervisor.ts";

export interface AgentLinkOptions {
  coordinator: CoordinatorLink;
  /** Of this agent process. */
  incarnation: string;
  report(): Report;
  /** A new stream has brought its first message: what was asked for on an earlier one is to be asked for again. */
  onOpen(): void;
  onMessage(message: ToAgent): void;
  /** Where all coordinators are, as one of them says; with each heartbeat. */
  onCoordinators(addresses: readonly string[]): void;
  log: Log;
  signal: AbortSignal;
}

/** Counters alone are worth a report only this often. */
const countersMs = 2_000;
/** Changes that come together go together. */
const gatherMs = 5;

export class AgentLink {
  readonly #options: AgentLinkOptions;
  #wake: (() => void) | null = null;
  #changed = false;
  #silence = "";
  /** The stream that is open or being opened, and to which coordinator. */
  #stream: { at: string; abort: AbortController } | null = null;
  /** Ends the pause before the next attempt. */
  #listenNow: (() => void) | null = null;

  constructor(options: AgentLinkOptions) {
    this.#options = options;
  }

  /** Resolves when the signal is aborted. */
  async run(): Promise<void> {
    await Promise.all([this.#listen(), this.#beat()]);
  }

  /** Something in the report may have changed: the next heartbeat goes now. */
  reportChanged(): void {
    this.#changed = true;
    this.#wake?.();
  }

  async #listen(): Promise<void> {
    const { coordinator, signal } = this.#options;
    let backoffMs = reconnectMinMs;
    while (!signal.aborted) {
      const at = coordinator.address();
      const stream = new AbortController();
      this.#stream = { at, abort: stream };
      const watch = () => setTimeout(() => stream.abort(silentStream()), streamSilentMs);
      let silence = watch();
      let open = false;
      try {
        for await (const message of coordinator.messages(AbortSignal.any([signal, stream.signal]))) {
          clearTimeout(silence);
          silence = watch();
          backoffMs = reconnectMinMs;
          this.#noteContact();
          if (!open) this.#options.onOpen();
          open = true;
          this.#options.onMessage(message);
        }
        throw new DvsError("UNAVAILABLE", "The coordinator ended the stream.");
      } catch (e) {
        if (signal.aborted) return;
        this.#noteSilence(stream.signal.aborted ? silentStream() : DvsError.from(e));
        coordinator.rotate(at);
      } finally {
        clearTimeout(silence);
        stream.abort();
        this.#stream = null;
      }
      const over = new AbortController();
      this.#listenNow = () => over.abort();
      await pause(backoffMs * (0.5 + Math.random() / 2), AbortSignal.any([signal, over.signal]));
      this.#listenNow = null;
      backoffMs = Math.min(reconnectMaxMs, backoffMs * 2);
    }
  }

  async #beat(): Promise<void> {
    const { coordinator, incarnation, signal } = this.#options;
    let sequence = 0;
    let wanted = true;
    let acknowledged = "";
    let acknowledgedCounters = "";
    let countersAt = 0;
    while (!signal.aborted) {
      this.#changed = false;
      const startedAt = performance.now();
      const at = coordinator.address();
      const report = this.#options.report();
      const text = JSON.stringify(withoutCounters(report));
      const counters = JSON.stringify(report);
      const countersDue = counters !== acknowledgedCounters && startedAt - countersAt >= countersMs;
      const attach = wanted || text !== acknowledged || countersDue;
      try {
        const beat: Heartbeat = { incarnation, sequence: ++sequence, ...(attach ? { report } : {}) };
        const answer = await limited(signal, agentRequestTimeoutMs, (s) => coordinator.heartbeat(beat, s));
        this.#noteContact();
        wanted = answer.reportWanted;
        if (answer.coordinators) this.#options.onCoordinators(answer.coordinators);
        // Here one answers: an attempt that waits after a failure elsewhere need not.
        if (!this.#stream) this.#listenNow?.();
        if (attach) {
          acknowledged = text;
          acknowledgedCounters = counters;
          countersAt = startedAt;
        }
      } catch (e) {
        if (signal.aborted) return;
        // Whether it arrived is not known.
        wanted = true;
        this.#noteSilence(DvsError.from(e));
        coordinator.rotate(at);
        // A stopped machine keeps its streams open: what hears no heartbeat is not listened to any longer.
        if (this.#stream && this.#stream.at !== coordinator.address())
          this.#stream.abort.abort(silentStream());
      }
      await this.#untilNextBeat(startedAt, wanted);
    }
  }

  async #untilNextBeat(startedAt: number, again: boolean): Promise<void> {
    const { signal } = this.#options;
    const left = () => heartbeatMs - (performance.now() - startedAt);
    // A coordinator that asks for the report has just started: many agents answer it.
    const soon = again ? heartbeatMs / 5 : Infinity;
    await new Promise<void>((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      let timer = setTimeout(done, Math.max(gatherMs, Math.min(left(), soon)));
      this.#wake = () => {
        this.#wake = null;
        clearTimeout(timer);
        timer = setTimeout(done, gatherMs);
      };
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
      else if (this.#changed) this.#wake();
    });
    this.#wake = null;
  }

  #noteContact(): void {
    if (this.#silence !== "") this.#options.log("info", "the coordinator answers again");
    this.#silence = "";
  }

  #noteSilence(e: DvsError): void {
    if (this.#silence === "") {
      this.#options.log("warn", `no coordinator answers: ${e.message} Containers and ingress go on.`);
    }
    this.#silence = e.message;
  }
}

function silentStream(): DvsError {
  return new DvsError("UNAVAILABLE", `The coordinator's stream was silent for ${streamSilentMs / 1000} s.`);
}

/** What changes all the time and is worth no message of its own. */
function withoutCounters(report: Report): Report {
  const containers = report.containers.map((c) => ({ ...c, requests: 0 }));
  const figures = { index: 0, committed: 0, applied: 0, diskBytes: 0 };
  const replicas = report.replicas.map((r) => ({ ...r, status: r.status && { ...r.status, ...figures } }));
  return { ...report, containers, replicas, ingressRequests: 0, diskFreeBytes: 0 };
}
