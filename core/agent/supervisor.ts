/** Carries out what the supervisor machine decides: processes, links, directories, timers. */
import { rm } from "node:fs/promises";
import type { ContainerReport, ContainerSpec } from "../agent-protocol.ts";
import { FromContainer, type ContainerBoot, type ToContainer } from "../container/control.ts";
import { DvsError } from "../errors.ts";
import type { ActiveClock, Cancel } from "./active-clock.ts";
import { type ContainerRecord, findContainers } from "./adopt.ts";
import { startContainer } from "./container-process.ts";
import { containerDirOf, type DataDir } from "./data-dir.ts";
import { writeSmallFile } from "../files.ts";
import type { HostProcess } from "./host-process.ts";
import type { KernelRelay } from "./kernel-relay.ts";
import { ProcessLink } from "./process-link.ts";
import {
  type SupervisorEffect,
  type SupervisorEvent,
  SupervisorMachine,
  type SupervisorTiming,
} from "./supervisor-machine.ts";

export type TlsFiles = NonNullable<ContainerBoot["tls"]>;
export type Log = (level: "info" | "warn" | "error", message: string) => void;

export interface SupervisorOptions {
  data: DataDir;
  node: ContainerBoot["node"];
  clock: ActiveClock;
  timing: SupervisorTiming;
  /** How often each container's control socket is tried; as long again without an answer is hung. */
  livenessMs: number;
  command: (args: string[]) => { command: string; args: string[] };
  /** Gets image and certificate. Rejects with a DvsError; INVALID means that trying again is useless. */
  prepare(spec: ContainerSpec, progress: (reason: string) => void): Promise<void>;
  /** What `prepare` got; null: no TCP listener. */
  tlsOf(spec: ContainerSpec): TlsFiles | null;
  /** A container's blob is bad; resolves when it is good again. */
  refetch(spec: ContainerSpec, digest: string): Promise<void>;
  /** What containers say of their kernels, and their ends. */
  kernels: Pick<KernelRelay, "receive" | "unlinked" | "exited" | "found">;
  onKernelLine(id: string, line: string | null): void;
  /** Reports or ready containers may have changed. */
  onChange: () => void;
  /** Where a test lets the agent die. */
  step: (name: string) => void;
  log: Log;
}

interface Running {
  process: HostProcess;
  record: ContainerRecord;
  link: ProcessLink<FromContainer, ToContainer>;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #machine: SupervisorMachine;
  readonly #running = new Map<string, Running>();
  /** The port that each container had last. */
  readonly #ports = new Map<string, number>();
  /** Writes of records that are under way, so that an old record never replaces a newer one. */
  readonly #writes = new Map<string, Promise<void>>();
  readonly #starts = new Set<Promise<void>>();
  #timer: Cancel | undefined;
  #closed = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#machine = new SupervisorMachine(options.timing, () => crypto.randomUUID());
  }

  /** Takes over what an earlier agent left. Before the first `setDesired`. */
  async adopt(): Promise<void> {
    for (const { uid, record, process } of await findContainers(this.#options.data)) {
      if (record) this.#ports.set(uid, record.port);
      if (!record || !process) {
        if (record) this.#options.kernels.found(uid, record.incarnation);
        this.#dispatch({ type: "found", uid, restarts: record?.restarts ?? 0 });
        continue;
      }
      const { spec, incarnation, port, restarts, startedAt } = record;
      const adopted = { spec, incarnation, pid: process.pid, port, restarts, startedAt };
      this.#dispatch({ type: "adopted", uid, process: adopted });
      this.#attend(uid, process, record);
      // A pid that was never written down, because the agent died first.
      if (record.pid === 0)
        this.#keepRecord(uid, { ...record, pid: process.pid, startTime: process.startTime });
      this.#options.log("info", `container ${spec.instance} goes on (pid ${process.pid})`);
    }
  }

  setDesired(containers: ContainerSpec[]): void {
    this.#dispatch({ type: "desired", containers });
  }

  reports(): ContainerReport[] {
    return this.#machine.reports(this.#options.clock.now());
  }

  /** Containers of this node that requests may be sent to. */
  readyLocals(): Map<string, { socket: string; incarnation: string }> {
    const locals = new Map<string, { socket: string; incarnation: string }>();
    for (const [uid, incarnation] of this.#machine.ready()) {
      locals.set(uid, { socket: containerDirOf(this.#options.data, uid).httpSocket, incarnation });
    }
    return locals;
  }

  /** While true, `readyLocals` may still lack containers of an earlier agent that serve. */
  isSettling(): boolean {
    return this.#machine.isSettling();
  }

  isEmpty(): boolean {
    return this.#machine.isEmpty();
  }

  /** False when the container is not there, or has no link. */
  tell(uid: string, message: ToContainer): boolean {
    const link = this.#running.get(uid)?.link;
    if (!link?.isUp) return false;
    link.send(message);
    return true;
  }

  pushTls(uid: string, tls: TlsFiles): void {
    this.#running.get(uid)?.link.send({ type: "tls", ...tls });
  }

  /** Lets go of everything; the containers run on. Resolves when none is just being started. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { link } of this.#running.values()) link.close();
    await Promise.all(this.#starts);
  }

  #dispatch(event: SupervisorEvent): void {
    if (this.#closed) return;
    const now = this.#options.clock.now();
    const effects = this.#machine.step(event, now);
    // First the change, then the effects: ingress hears that a container stops before the container does.
    this.#options.onChange();
    for (const effect of effects) this.#carryOut(effect);
    this.#timer?.cancel();
    const deadline = this.#machine.nextDeadline();
    if (deadline === null) return;
    this.#timer = this.#options.clock.after(Math.max(0, deadline - now), () =>
      this.#dispatch({ type: "tick" }),
    );
  }

  #carryOut(effect: SupervisorEffect): void {
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
      return running.link.send({ type: "stop", graceMs: effect.graceMs });
    }
    running.process.signal("SIGTERM");
  }

  async #prepare(effect: Extract<SupervisorEffect, { type: "prepare" }>): Promise<void> {
    const { uid, attempt, spec } = effect;
    try {
      await this.#options.prepare(spec, (reason) => {
        this.#dispatch({ type: "progress", uid, attempt, reason });
      });
      this.#dispatch({ type: "prepared", uid, attempt });
    } catch (e) {
      const error = DvsError.from(e);
      const permanent = error.code === "INVALID";
      this.#dispatch({ type: "prepareFailed", uid, attempt, reason: error.message, permanent });
    }
  }

  async #start(effect: Extract<SupervisorEffect, { type: "start" }>): Promise<void> {
    const { uid, spec, incarnation, restarts } = effect;
    const { data, node, command, step, log } = this.#options;
    const port = this.#ports.get(uid) ?? 0;
    try {
      const tls = this.#options.tlsOf(spec);
      await this.#writes.get(uid);
      const started = await startContainer({
        data,
        node,
        spec,
        incarnation,
        restarts,
        port,
        tls,
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
      log("warn", `container ${spec.instance} cannot be started: ${reason}`);
      this.#dispatch({ type: "spawnFailed", uid, incarnation, reason });
    }
  }

  /** From here to its end: a link to it, and its death. */
  #attend(uid: string, process: HostProcess, record: ContainerRecord): void {
    const { incarnation, spec } = record;
    const { clock, data, step, log } = this.#options;
    const link = new ProcessLink<FromContainer, ToContainer>({
      socket: containerDirOf(data, uid).controlSocket,
      schema: FromContainer,
      clock,
      livenessMs: this.#options.livenessMs,
      checkHello: (message) => {
        if (message.type !== "hello") return `its first message is ${message.type}, not hello`;
        if (message.uid === uid && message.incarnation === incarnation) return null;
        return `another container answers: ${message.uid}, incarnation ${message.incarnation}`;
      },
      onHello: () => {
        step("linked");
        this.#dispatch({ type: "hello", uid, incarnation });
        // It may have started with one that has been renewed since.
        const tls = this.#options.tlsOf(spec);
        if (tls) this.pushTls(uid, tls);
      },
      onMessage: (message) => this.#receive(uid, incarnation, message),
      onDown: () => {
        this.#options.kernels.unlinked(uid, incarnation);
        this.#dispatch({ type: "unlinked", uid, incarnation });
      },
      onHung: (reason) => this.#dispatch({ type: "hung", uid, incarnation, reason }),
    });
    this.#running.set(uid, { process, record, link });
    void process.ended.then((how) => {
      link.close();
      this.#options.kernels.exited(uid, incarnation);
      if (this.#running.get(uid)?.link === link) this.#running.delete(uid);
      log("info", `container ${spec.instance} (pid ${process.pid}) ${how}`);
      this.#dispatch({ type: "exited", uid, incarnation, reason: how });
    });
  }

  #receive(uid: string, incarnation: string, message: FromContainer): void {
    const running = this.#running.get(uid);
    if (running?.record.incarnation !== incarnation) return;
    switch (message.type) {
      case "hello":
        return;
      case "state": {
        const { state, reason, permanent, port } = message;
        this.#dispatch({ type: "state", uid, incarnation, state, reason, permanent, port });
        if (port !== 0 && port !== running.record.port) this.#keepPort(uid, running, port);
        if (state === "ready") this.#options.step("ready");
        return;
      }
      case "stats":
        return this.#dispatch({ type: "stats", uid, incarnation, requests: message.requests });
      case "kernelLine":
        return this.#options.onKernelLine(message.id, message.line);
      case "kernel": {
        const { kernel, state } = message;
        return this.#dispatch({ type: "kernel", uid, incarnation, kernel: { kernel, state } });
      }
      case "badBlob":
        void this.#refetch(running, message.digest);
        return;
      case "kernelFollow":
      case "kernelRead":
      case "kernelPropose":
        this.#options.kernels.receive(uid, incarnation, message, (answer) => running.link.send(answer));
    }
  }

  async #refetch(running: Running, digest: string): Promise<void> {
    try {
      await this.#options.refetch(running.record.spec, digest);
      running.link.send({ type: "blob", digest, ok: true, reason: "" });
    } catch (e) {
      running.link.send({ type: "blob", digest, ok: false, reason: DvsError.from(e).message });
    }
  }

  #keepPort(uid: string, running: Running, port: number): void {
    this.#ports.set(uid, port);
    running.record = { ...running.record, port };
    this.#keepRecord(uid, running.record);
  }

  #keepRecord(uid: string, record: ContainerRecord): void {
    const path = containerDirOf(this.#options.data, uid).process;
    const write = (this.#writes.get(uid) ?? Promise.resolve()).then(async () => {
      try {
        await writeSmallFile(path, JSON.stringify(record), { durable: false });
      } catch (e) {
        this.#options.log("warn", `cannot write ${path}: ${DvsError.from(e).message}`);
      }
    });
    this.#writes.set(uid, write);
  }

  async #removeDir(uid: string): Promise<void> {
    const { root } = containerDirOf(this.#options.data, uid);
    await this.#writes.get(uid);
    this.#writes.delete(uid);
    try {
      await rm(root, { recursive: true, force: true });
    } catch (e) {
      this.#options.log("warn", `cannot remove ${root}: ${DvsError.from(e).message}`);
    }
    this.#ports.delete(uid);
    this.#dispatch({ type: "dirRemoved", uid });
  }
}
