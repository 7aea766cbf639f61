/**
 * The ingress's host process: `dvs ingress --run-dir DIR`, started by the agent. It is told its table over
 * ingress.sock and depends on nobody once it has one: when the agent goes it serves on with the last table.
 */
import { randomBytes } from "node:crypto";
import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { tryLockFile } from "../file-lock.ts";
import { MiB } from "../limits.ts";
import { secureEnvironment } from "../trust/environment.ts";
import { ControlServer } from "../transport/control-server.ts";
import { type FromIngress, type IngressTable, ToIngress } from "./control.ts";
import { Ingress } from "./ingress.ts";
import { statsMs, stopGraceMs } from "./ingress-limits.ts";

/** A table of some ten thousand routes. */
const tableCharsMax = 64 * MiB;

export interface IngressOptions {
  /** Holds ingress.sock; of mode 0700. */
  runDir: string;
  /** Ends it like SIGTERM; aborted by one that came before this was called. */
  signal?: AbortSignal;
  /** Where words go; standard error is a file of the agent's. */
  log?: (message: string) => void;
}

/**
 * Runs until it is stopped, by an agent, SIGTERM or SIGINT. Rejects with CONFLICT when another ingress runs in the
 * directory, NOT_FOUND when there is none.
 */
export async function runIngress(options: IngressOptions): Promise<void> {
  const {
    runDir,
    signal,
    log = (message) => console.error(`${new Date().toISOString()} ${message}`),
  } = options;
  secureEnvironment(log);
  try {
    await chmod(runDir, 0o700);
  } catch (cause) {
    throw new DvsError(
      "NOT_FOUND",
      `Cannot run an ingress in ${runDir}: there is no such directory of ours.`,
      {
        cause,
      },
    );
  }
  const lock = tryLockFile(join(runDir, "ingress.lock"));
  if (!lock) {
    throw new DvsError(
      "CONFLICT",
      `Cannot run an ingress in ${runDir}: one runs there already. Stop it first.`,
    );
  }
  try {
    await serve(join(runDir, "ingress.sock"), log, signal);
  } finally {
    lock.release();
  }
}

async function serve(path: string, log: (message: string) => void, signal?: AbortSignal): Promise<void> {
  const incarnation = randomBytes(8).toString("hex");
  const reporter = new Reporter();
  const ingress = new Ingress({ portsChanged: () => reporter.ports() });
  let stopping: (graceMs: number) => void = () => {};
  const stopped = new Promise<number>((resolve) => {
    stopping = resolve;
  });
  const server = new ControlServer<typeof ToIngress, FromIngress>({
    path,
    schema: ToIngress,
    lineCharsMax: tableCharsMax,
    unreadBytesMax: 8 * MiB,
    greeting: () => [
      { type: "hello", pid: process.pid, incarnation },
      { type: "ports", ports: ingress.ports },
      statsOf(ingress),
    ],
    onMessage: (message) => {
      if (message.type === "table") {
        void applyTable(ingress, message.table, log).then(() => reporter.ports());
      } else stopping(message.graceMs);
    },
    onRefused: log,
  });
  reporter.start(server, ingress);

  const onSignal = () => stopping(stopGraceMs);
  // Serving is worth more than the one connection that met a defect.
  const onDefect = (e: unknown) => log(`defect: ${e instanceof Error ? e.stack : String(e)}`);
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  signal?.addEventListener("abort", onSignal, { once: true });
  if (signal?.aborted) onSignal();
  process.on("uncaughtException", onDefect);
  process.on("unhandledRejection", onDefect);
  try {
    // The lock is ours, so whatever made this file is dead.
    await rm(path, { force: true });
    await server.listen();
    await ingress.stop(await stopped);
  } finally {
    reporter.stop();
    await server.close();
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
    signal?.removeEventListener("abort", onSignal);
    process.off("uncaughtException", onDefect);
    process.off("unhandledRejection", onDefect);
  }
}

async function applyTable(
  ingress: Ingress,
  table: IngressTable,
  log: (message: string) => void,
): Promise<void> {
  try {
    await ingress.apply(table);
  } catch (e) {
    log(`the table could not be applied: ${DvsError.from(e).message}`);
  }
}

function statsOf(ingress: Ingress): FromIngress {
  return { type: "stats", ...ingress.counters, upstreams: ingress.upstreams };
}

/** Tells agents what changed: ports at once, counters once a second. */
class Reporter {
  #server: ControlServer<typeof ToIngress, FromIngress> | null = null;
  #ingress: Ingress | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #last = "";

  start(server: ControlServer<typeof ToIngress, FromIngress>, ingress: Ingress): void {
    this.#server = server;
    this.#ingress = ingress;
    this.#timer = setInterval(() => this.#stats(), statsMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  ports(): void {
    if (this.#ingress) this.#server?.broadcast({ type: "ports", ports: this.#ingress.ports });
  }

  #stats(): void {
    const stats = statsOf(this.#ingress!);
    const text = JSON.stringify(stats);
    if (text === this.#last) return;
    this.#last = text;
    this.#server!.broadcast(stats);
  }
}
