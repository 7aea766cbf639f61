/**
 * Carries out what the supervisor machine decides for the host processes of one kind: processes, links, directories,
 * timers. What is particular to containers and to state processes is theirs (SupervisedKind).
 */
import { rm } from "node:fs/promises";
import type { z } from "zod";
import type { ContainerReport, KernelState } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import type { ActiveClock, Cancel } from "./active-clock.ts";
import { findSupervised, type SupervisedDirs, type SupervisedRecord } from "./adopt.ts";
import type { ProcessDir } from "./data-dir.ts";
import { writeSmallFile } from "../files.ts";
import type { HostProcess } from "./host-process.ts";
import { ProcessLink } from "./process-link.ts";
import { startProcess } from "./start-process.ts";
import {
  type Supervised,
  type SupervisorEffect,
  type SupervisorEvent,
  SupervisorMachine,
  type SupervisorTiming,
} from "./supervisor-machine.ts";

export type Log = (level: "info" | "warn" | "error", message: string) => void;

/** What the supervisor itself understands of what its processes say; their schema has it. */
type Common =
  | { type: "hello"; uid: string; incarnation: string }
  | {
      type: "state";
      state: "starting" | "ready" | "stopping" | "failed";
      reason: string;
      permanent: boolean;
      anew?: boolean | undefined;
      port: number;
    };

/** A process that lives, for its kind. */
export interface Live<Spec, To> {
  readonly uid: string;
  readonly record: SupervisedRecord<Spec>;
  /** Dropped while there is no link. */
  send(message: To): void;
  /** For its report. */
  note(of: { type: "stats"; requests: number } | { type: "kernel"; kernel: KernelState }): void;
  /** Writes what is learned of it into its record. Rejects where the disk does not take it. */
  keep(change: { disk: string }): Promise<void>;
}

export interface SupervisedKind<
  Spec extends Supervised,
  From extends { type: string },
  To,
> extends SupervisedDirs<Spec> {
  /** `container web`. */
  nameOf(spec: Spec): string;
  /** What one that is prepared waits for, in words. */
  preparing: string;
  schema: z.ZodType<From>;
  dirOf(uid: string): ProcessDir;
  /** All that it needs to start. Rejects with a DvsError; INVALID means that trying again is useless. */
  prepare(spec: Spec, progress: (reason: string) => void): Promise<void>;
  /** What becomes boot.json. */
  boot(spec: Spec, of: { incarnation: string; port: number }): Promise<unknown>;
  stop(graceMs: number): To;
  /** After each hello. */
  greeted(process: Live<Spec, To>, hello: From): void;
  /** What it says beside its hello; also `state`. */
  receive(process: Live<Spec, To>, message: From): void;
  unlinked(uid: string, incarnation: string): void;
  /** It is surely dead: reaped, or gone from /proc; also one of an earlier agent. */
  exited(uid: string, record: SupervisedRecord<Spec>, how: "seen" | "found"): void;
}

export interface SupervisorParts {
  clock: ActiveClock;
  timing: SupervisorTiming;
  /** How often each control socket is tried; as long again without an answer is hung. */
  livenessMs: number;
  command: (args: string[]) => { command: string; args: string[] };
  /** Reports, or those that are ready, may have changed. */
  onChange: () => void;
  /** Where a test lets the agent die. */
  step: (name: string) => void;
  log: Log;
}

interface Running<Spec, To> {
  process: HostProcess;
  live: Live<Spec, To>;
  record: SupervisedRecord<Spec>;
  link: { send(message: To): void; readonly isUp: boolean; close(): void };
}

export class Supervisor<Spec extends Supervised, From extends { type: string }, To> {
  readonly #kind: SupervisedKind<Spec, From, To>;
  readonly #parts: SupervisorParts;
  readonly #machine: SupervisorMachine<Spec>;
  readonly #running = new Map<string, Running<Spec, To>>();
  /** The port that each process had last. */
  readonly #ports = new Map<string, number>();
  /** Writes of records that are under way, so that an old record never replaces a newer one. */
  readonly #writes = new Map<string, Promise<void>>();
  readonly #starts = new Set<Promise<void>>();
  #timer: Cancel | undefined;
  #closed = false;

  constructor(kind: SupervisedKind<Spec, From, To>, parts: SupervisorParts) {
    this.#kind = kind;
    this.#parts = parts;
    const { timing } = parts;
    const newIncarnation = () => crypto.randomUUID();
    this.#machine = new SupervisorMachine<Spec>({ timing, newIncarnation, preparing: kind.preparing });
  }

  /** Takes over what an earlier agent left. Before the first `setDesired`. */
  async adopt(): Promise<void> {
    for (const { uid, record, process } of await findSupervised(this.#kind)) {
      if (record) this.#ports.set(uid, record.port);
      if (!record || !process) {
        if (record) this.#kind.exited(uid, record, "found");
        this.#dispatch({ type: "found", uid, restarts: record?.restarts ?? 0 });
        continue;
      }
      const { spec, incarnation, port, restarts, startedAt } = record;
      const adopted = { spec, incarnation, pid: process.pid, port, restarts, startedAt };
      this.#dispatch({ type: "adopted", uid, process: adopted });
      this.#attend(uid, process, record);
      // A pid that was never written down, because the agent died first.
      if (record.pid === 0) {
        this.#tryKeep(uid, { ...record, pid: process.pid, startTime: process.startTime });
      }
      this.#parts.log("info", `${this.#kind.nameOf(spec)} goes on (pid ${process.pid})`);
    }
  }

  setDesired(wanted: readonly Spec[]): void {
    this.#dispatch({ type: "desired", wanted });
  }

  reports(): ContainerReport[] {
    return this.#machine.reports(this.#parts.clock.now());
  }

  /** Those that requests may be sent to: uid → incarnation. */
  ready(): Map<string, string> {
    return this.#machine.ready();
  }

  /** While true, `ready` may still lack processes of an earlier agent that serve. */
  isSettling(): boolean {
    return this.#machine.isSettling();
  }

  /** Whether a process of it is here, or being started. */
  has(uid: string): boolean {
    return this.#machine.has(uid);
  }

  isEmpty(): boolean {
    return this.#machine.isEmpty();
  }

  /** False when the process is not there, or has no link. */
  tell(uid: string, message: To): boolean {
    const link = this.#running.get(uid)?.link;
    if (!link?.isUp) return false;
    link.send(message);
    return true;
  }

  /** Lets go of everything; the processes run on. Resolves when none is just being started. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { link } of this.#running.values()) link.close();
    await Promise.all(this.#starts);
  }

  #dispatch(event: SupervisorEvent<Spec>): void {
    if (this.#closed) return;
    const { clock, onChange } = this.#parts;
    const now = clock.now();
    const effects = this.#machine.step(event, now);
    // First the change, then the effects: ingress hears that a container stops before the container does.
    onChange();
    for (const effect of effects) this.#carryOut(effect);
    this.#timer?.cancel();
    const deadline = this.#machine.nextDeadline();
    if (deadline === null) return;
    this.#timer = clock.after(Math.max(0, deadline - now), () => this.#dispatch({ type: "tick" }));
  }

  #carryOut(effect: SupervisorEffect<Spec>): void {
    const { uid } = effect;
    switch (effect.type) {
      case "prepare":
        void this.#prepare(effect);
        return;
      case "start": {
        const start = this.#start(effect);
        this.#starts.add(start);
        void start.finally(() => this.#starts.delete(start));
        return;
      }
      case "removeDir":
        void this.#removeDir(uid);
        return;
    }
    const running = this.#running.get(uid);
    if (running?.record.incarnation !== effect.incarnation) return;
    if (effect.type === "kill") return running.process.signal("SIGKILL");
    if (effect.type === "stop" && running.link.isUp) {
      return running.link.send(this.#kind.stop(effect.graceMs));
    }
    running.process.signal("SIGTERM");
  }

  async #prepare(effect: Extract<SupervisorEffect<Spec>, { type: "prepare" }>): Promise<void> {
    const { uid, attempt, spec } = effect;
    try {
      await this.#kind.prepare(spec, (reason) => {
        this.#dispatch({ type: "progress", uid, attempt, reason });
      });
      this.#dispatch({ type: "prepared", uid, attempt });
    } catch (e) {
      const error = DvsError.from(e);
      const permanent = error.code === "INVALID";
      this.#dispatch({ type: "prepareFailed", uid, attempt, reason: error.message, permanent });
    }
  }

  async #start(effect: Extract<SupervisorEffect<Spec>, { type: "start" }>): Promise<void> {
    const { uid, spec, incarnation, restarts } = effect;
    const { command, step, log } = this.#parts;
    const kind = this.#kind;
    const port = this.#ports.get(uid) ?? 0;
    try {
      await this.#writes.get(uid);
      const started = await startProcess({
        kind: kind.kind,
        dir: kind.dirOf(uid),
        spec,
        incarnation,
        restarts,
        port,
        boot: () => kind.boot(spec, { incarnation, port }),
        command,
        step,
      });
      const { process, record } = started;
      if (this.#closed) return;
      const { startedAt } = record;
      this.#dispatch({ type: "spawned", uid, incarnation, pid: process.pid, startedAt });
      this.#attend(uid, process, record);
    } catch (e) {
      const reason = DvsError.from(e).message;
      log("warn", `${kind.nameOf(spec)} cannot be started: ${reason}`);
      this.#dispatch({ type: "spawnFailed", uid, incarnation, reason });
    }
  }

  /** From here to its end: a link to it, and its death. */
  #attend(uid: string, process: HostProcess, record: SupervisedRecord<Spec>): void {
    const { incarnation, spec } = record;
    const { clock, livenessMs, step, log } = this.#parts;
    const kind = this.#kind;
    const link = new ProcessLink<From, To>({
      socket: kind.dirOf(uid).controlSocket,
      schema: kind.schema,
      clock,
      livenessMs,
      checkHello: (message) => {
        const hello = commonOf(message);
        if (hello?.type !== "hello") return `its first message is ${message.type}, not hello`;
        if (hello.uid === uid && hello.incarnation === incarnation) return null;
        return `another process answers: ${hello.uid}, incarnation ${hello.incarnation}`;
      },
      onHello: (hello) => {
        step("linked");
        this.#dispatch({ type: "hello", uid, incarnation });
        kind.greeted(running.live, hello);
      },
      onMessage: (message) => this.#receive(running, message),
      onDown: () => {
        kind.unlinked(uid, incarnation);
        this.#dispatch({ type: "unlinked", uid, incarnation });
      },
      onHung: (reason) => this.#dispatch({ type: "hung", uid, incarnation, reason }),
    });
    const running: Running<Spec, To> = { process, record, link, live: this.#live(uid, () => running) };
    this.#running.set(uid, running);
    void process.ended.then((how) => {
      link.close();
      if (this.#closed) return;
      kind.exited(uid, running.record, "seen");
      if (this.#running.get(uid) === running) this.#running.delete(uid);
      log("info", `${kind.nameOf(spec)} (pid ${process.pid}) ${how}`);
      this.#dispatch({ type: "exited", uid, incarnation, reason: how });
    });
  }

  #live(uid: string, running: () => Running<Spec, To>): Live<Spec, To> {
    return {
      uid,
      get record() {
        return running().record;
      },
      send: (message) => running().link.send(message),
      note: (of) => this.#dispatch({ ...of, uid, incarnation: running().record.incarnation }),
      keep: (change) => {
        running().record = { ...running().record, ...change };
        return this.#keepRecord(uid, running().record);
      },
    };
  }

  #receive(running: Running<Spec, To>, message: From): void {
    const { live, record } = running;
    const { uid } = live;
    if (this.#running.get(uid) !== running) return;
    const common = commonOf(message);
    if (common?.type === "hello") return;
    if (common?.type === "state") {
      const { state, reason, permanent, anew = false, port } = common;
      const { incarnation } = record;
      this.#dispatch({ type: "state", uid, incarnation, state, reason, permanent, anew, port });
      if (port !== 0 && port !== record.port) {
        this.#ports.set(uid, port);
        running.record = { ...record, port };
        this.#tryKeep(uid, running.record);
      }
      if (state === "ready") this.#parts.step("ready");
    }
    this.#kind.receive(live, message);
  }

  #tryKeep(uid: string, record: SupervisedRecord<Spec>): void {
    this.#keepRecord(uid, record).catch((e: unknown) => {
      this.#parts.log("warn", `cannot write ${this.#kind.dirOf(uid).process}: ${DvsError.from(e).message}`);
    });
  }

  #keepRecord(uid: string, record: SupervisedRecord<Spec>): Promise<void> {
    const path = this.#kind.dirOf(uid).process;
    const earlier = this.#writes.get(uid) ?? Promise.resolve();
    const write = earlier.then(() => writeSmallFile(path, JSON.stringify(record), { durable: false }));
    this.#writes.set(
      uid,
      write.catch(() => {}),
    );
    return write;
  }

  async #removeDir(uid: string): Promise<void> {
    const { root } = this.#kind.dirOf(uid);
    await this.#writes.get(uid);
    this.#writes.delete(uid);
    try {
      await rm(root, { recursive: true, force: true });
    } catch (e) {
      this.#parts.log("warn", `cannot remove ${root}: ${DvsError.from(e).message}`);
    }
    this.#ports.delete(uid);
    this.#dispatch({ type: "dirRemoved", uid });
  }
}

function commonOf(message: { type: string }): Common | null {
  return message.type === "hello" || message.type === "state" ? (message as Common) : null;
}
