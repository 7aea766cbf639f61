/**
 * The node's ingress: one host process that holds the published ports. It starts first, outlives the agent, gets
 * the whole table on each link and each change, and is started again at once when it dies, since without it every
 * port of this node is closed.
 */
import { rm } from "node:fs/promises";
import type { PortReport } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { FromIngress, type IngressTable, type ToIngress } from "../ingress/control.ts";
import { adoptHelloTimeoutMs, killMarginMs, restartBackoffMinMs } from "../limits.ts";
import { bootId } from "../platform/uptime.ts";
import type { ActiveClock } from "./active-clock.ts";
import { findIngress } from "./adopt.ts";
import type { DataDir } from "./data-dir.ts";
import { writeSmallFile } from "../files.ts";
import { type HostProcess, minimalEnvironment, spawnHostProcess } from "./host-process.ts";
import { processArguments } from "./proc-scan.ts";
import { ProcessLink } from "./process-link.ts";
import { rotateLog } from "./rotate-log.ts";
import type { Log } from "./supervisor.ts";

export interface IngressOptions {
  data: DataDir;
  clock: ActiveClock;
  livenessMs: number;
  command: (args: string[]) => { command: string; args: string[] };
  onChange: () => void;
  step: (name: string) => void;
  log: Log;
}

/** One that ran this long is started again at once. */
const stableMs = 2_000;
const backoffMaxMs = 2_000;

export class IngressProcess {
  readonly #options: IngressOptions;
  #process: HostProcess | null = null;
  #link: ProcessLink<FromIngress, ToIngress> | null = null;
  #table: IngressTable | null = null;
  #ports: PortReport[] = [];
  #requests = 0;
  #backoffMs = 0;
  #spawning: Promise<void> = Promise.resolve();
  #problem = "";
  #closed = false;

  constructor(options: IngressOptions) {
    this.#options = options;
  }

  /** Adopts the one that an earlier agent started, or starts one. */
  async start(): Promise<void> {
    const process = await findIngress(this.#options.data);
    if (!process) return this.#spawn();
    this.#options.log("info", `ingress goes on (pid ${process.pid})`);
    this.#attend(process);
  }

  setTable(table: IngressTable): void {
    this.#table = table;
    this.#link?.send({ type: "table", table });
  }

  get ports(): PortReport[] {
    return this.#ports;
  }

  get requests(): number {
    return this.#requests;
  }

  warnings(): string[] {
    return this.#problem === "" ? [] : [`ingress: ${this.#problem}`];
  }

  /** Ends it for good. Resolves when it is surely dead. */
  async stop(graceMs: number): Promise<void> {
    this.#closed = true;
    await this.#spawning;
    const process = this.#process;
    if (!process) return;
    this.#link?.send({ type: "stop", graceMs });
    if (!this.#link?.isUp) process.signal("SIGTERM");
    const kill = setTimeout(() => process.signal("SIGKILL"), graceMs + killMarginMs);
    await process.ended;
    clearTimeout(kill);
  }

  /** Lets go of it; it runs on. Resolves when none is just being started. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#link?.close();
    await this.#spawning;
  }

  #spawn(): Promise<void> {
    this.#spawning = this.#closed ? Promise.resolve() : this.#trySpawn();
    return this.#spawning;
  }

  async #trySpawn(): Promise<void> {
    const { data, command, step, log, clock } = this.#options;
    try {
      await rm(data.ingressSocket, { force: true });
      await rotateLog(data.ingressLog);
      await this.#keepIntent();
      step("ingress-intent");
      const process = await spawnHostProcess({
        ...command(processArguments("ingress", data.run)),
        cwd: data.run,
        logFile: data.ingressLog,
        env: minimalEnvironment(),
      });
      step("ingress-spawned");
      this.#attend(process);
    } catch (e) {
      this.#problem = `cannot be started: ${DvsError.from(e).message}`;
      log("error", `ingress ${this.#problem}`);
      this.#options.onChange();
      clock.after(backoffMaxMs, () => void this.#spawn());
    }
  }

  #attend(process: HostProcess): void {
    const { data, clock, livenessMs, log, onChange } = this.#options;
    const startedMs = clock.now();
    this.#process = process;
    let why = "";
    const link = new ProcessLink<FromIngress, ToIngress>({
      socket: data.ingressSocket,
      schema: FromIngress,
      clock,
      livenessMs,
      checkHello: (message) => {
        if (message.type !== "hello") return `its first message is ${message.type}, not hello`;
        return message.pid === process.pid
          ? null
          : `another process answers on its socket: pid ${message.pid}`;
      },
      onHello: () => {
        this.#problem = "";
        if (this.#table) link.send({ type: "table", table: this.#table });
      },
      onMessage: (message) => this.#receive(message),
      onDown: () => {},
      onHung: (reason) => {
        why = reason;
        process.signal("SIGKILL");
      },
    });
    this.#link = link;
    if (this.#closed) link.close();
    // Without a link its table is the last agent's: one that does not answer soon is worse than a new one.
    const noHello = clock.after(adoptHelloTimeoutMs * 2, () => {
      if (link.isUp || this.#link !== link || this.#closed) return;
      why ||= "no hello";
      process.signal("SIGKILL");
    });
    void process.ended.then((how) => {
      noHello.cancel();
      link.close();
      if (this.#closed) return;
      this.#ports = [];
      this.#requests = 0;
      this.#problem = [why, how].filter((w) => w !== "").join("; ");
      log("error", `ingress (pid ${process.pid}) ended: ${this.#problem}; it is started again`);
      onChange();
      const ranMs = clock.now() - startedMs;
      this.#backoffMs =
        ranMs >= stableMs ? 0 : Math.min(backoffMaxMs, Math.max(restartBackoffMinMs, this.#backoffMs * 2));
      clock.after(this.#backoffMs, () => void this.#spawn());
    });
    onChange();
  }

  #receive(message: FromIngress): void {
    if (message.type === "ports") this.#ports = message.ports;
    else if (message.type === "stats") this.#requests = message.requests;
    this.#options.onChange();
  }

  /** Says that one may be about to run. On a full disk the ports matter more. */
  async #keepIntent(): Promise<void> {
    const text = JSON.stringify({ bootId: bootId() });
    await writeSmallFile(this.#options.data.ingressIntent, text, { durable: false }).catch((e: unknown) => {
      this.#options.log("warn", DvsError.from(e).message);
    });
  }
}
