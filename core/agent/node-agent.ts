/**
 * The parts of an agent, joined: what the coordinator wants goes to supervisor and ingress, what they say goes back
 * with the heartbeats. When no coordinator answers everything goes on by the last word of one, which lies on disk.
 */
import { open, rm } from "node:fs/promises";
import type { Desired, Report, ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import {
  adoptHelloTimeoutMs,
  agentRequestTimeoutMs,
  containerReadyTimeoutMs,
  containerStopGraceMs,
  desiredFromDiskAfterMs,
  killMarginMs,
  livenessIntervalMs,
  prepareRetryMs,
  restartBackoffMaxMs,
  restartBackoffMinMs,
  restartBackoffResetMs,
} from "../limits.ts";
import { type Renewal, startRenewal } from "../transport/renewal.ts";
import { ActiveClock } from "./active-clock.ts";
import { ContainerCertificates } from "./container-certificates.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { containerDirOf, type DataDir } from "./data-dir.ts";
import { DesiredStore } from "./desired-store.ts";
import {
  AgentAddresses,
  type Enrolled,
  forgetIdentity,
  saveCertificates,
  saveNodeIdentity,
} from "./identity.ts";
import { IngressProcess } from "./ingress-process.ts";
import { ingressTable } from "./ingress-table.ts";
import { KernelRelay } from "./kernel-relay.ts";
import { KernelStreams } from "./kernel-streams.ts";
import { limited } from "./limited.ts";
import { AgentLink } from "./link.ts";
import { endProcesses } from "./local-processes.ts";
import { streamLog } from "./log-stream.ts";
import type { NodeImages } from "./node-images.ts";
import { findProcesses } from "./proc-scan.ts";
import { DiskWatch, reporter } from "./report.ts";
import { type Log, Supervisor } from "./supervisor.ts";
import type { SupervisorTiming } from "./supervisor-machine.ts";

export interface AgentParts {
  data: DataDir;
  enrolled: Enrolled;
  coordinator: CoordinatorLink;
  images: NodeImages;
  log: Log;
  command: (args: string[]) => { command: string; args: string[] };
  step: (name: string) => void;
  timing: Partial<AgentTiming>;
}

export interface AgentTiming extends SupervisorTiming {
  livenessMs: number;
}

const timingDefaults: AgentTiming = {
  livenessMs: livenessIntervalMs,
  readyTimeoutMs: containerReadyTimeoutMs,
  helloTimeoutMs: adoptHelloTimeoutMs,
  stopGraceMs: containerStopGraceMs,
  killMarginMs,
  backoffMinMs: restartBackoffMinMs,
  backoffMaxMs: restartBackoffMaxMs,
  backoffResetMs: restartBackoffResetMs,
  prepareRetryMs,
};

/** A loop that is this late holds heartbeats back; people should know. */
const lagWarnMs = 500;
const lagLookMs = 10_000;

export class NodeAgent {
  readonly #parts: AgentParts;
  readonly #clock = new ActiveClock();
  readonly #ending = new AbortController();
  readonly #disk: DiskWatch;
  readonly #desired: DesiredStore;
  readonly #supervisor: Supervisor;
  readonly #ingress: IngressProcess;
  readonly #certificates: ContainerCertificates;
  readonly #kernels: KernelRelay;
  readonly #kernelStreams: KernelStreams;
  readonly #link: AgentLink;
  readonly #renewal: Renewal;
  readonly #lagTimer: ReturnType<typeof setInterval>;
  #applied: Desired | null = null;
  #tableFrom: { desired: Desired; locals: string; certificate: string } | null = null;
  #onRemoved: (() => void) | null = null;
  #isRemoved = false;
  #lagWarning = "";
  #identitySaved: Promise<void> = Promise.resolve();

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { data, enrolled, coordinator, images, log, command, step } = parts;
    const { identity, certificates } = enrolled;
    const { clusterId, nodeId, name, address } = identity;
    const signal = this.#ending.signal;
    const clock = this.#clock;
    const onChange = () => this.#changed();
    const { livenessMs, ...timing } = { ...timingDefaults, ...parts.timing };
    this.#disk = new DiskWatch(data.root);
    this.#desired = new DesiredStore(data.desired, { clusterId, nodeId }, log);
    this.#certificates = new ContainerCertificates({
      data,
      clusterId,
      nodeId,
      clusterCa: certificates.clusterCa,
      workloadCa: certificates.workloadCa,
      coordinator,
      onRenewed: (uid, tls) => this.#supervisor.pushTls(uid, tls),
      log,
      signal,
    });
    this.#kernels = new KernelRelay({ coordinator, log, signal });
    this.#kernelStreams = new KernelStreams({
      coordinator,
      tell: (uid, message) => this.#supervisor.tell(uid, message),
      signal,
    });
    this.#supervisor = new Supervisor({
      kernels: this.#kernels,
      onKernelLine: (id, line) => this.#kernelStreams.line(id, line),
      data,
      node: { id: nodeId, name, address },
      clock,
      timing,
      livenessMs,
      command,
      prepare: async (spec, progress) => {
        await Promise.all([
          this.#certificates.ensure(spec),
          spec.image === null ? null : images.ensure(spec.image, progress, signal),
        ]);
      },
      tlsOf: (spec) => this.#certificates.of(spec.uid),
      refetch: async ({ instance, image }, digest) => {
        if (image === null) throw new DvsError("INVALID", `instance ${instance} has no image`);
        await images.refetch(image, digest, signal);
      },
      onChange,
      step,
      log,
    });
    this.#ingress = new IngressProcess({ data, clock, livenessMs, command, onChange, step, log });
    const toReport = reporter(this.#disk);
    this.#link = new AgentLink({
      coordinator,
      incarnation: crypto.randomUUID(),
      report: () => toReport(this.#reportParts()),
      onOpen: () => this.#kernels.reconnected(),
      onMessage: (message) => this.#receive(message),
      onCoordinators: (addresses) => this.#meetCoordinators(addresses),
      log,
      signal,
    });
    this.#renewal = startRenewal({
      identity: certificates,
      sign: (csr, stop) =>
        limited(stop, agentRequestTimeoutMs, (s) => coordinator.renewNodeCertificate(csr, s)),
      install: async (next) => {
        await saveCertificates(data, { ...certificates, ...next });
        // In place: the coordinator's link reads it at each new connection.
        Object.assign(certificates, next);
        this.#changed();
      },
      onError: (e) => log("warn", `cannot renew the node's certificate: ${e.message}`),
    });
    this.#lagTimer = setInterval(() => this.#lookAtLag(), lagLookMs);
  }

  /** Takes over what runs here already; the ingress first, since ports are closed without it. */
  async start(): Promise<void> {
    await this.#disk.start();
    await this.#desired.load();
    await Promise.all([this.#ingress.start(), this.#supervisor.adopt()]);
  }

  /** Resolves when the signal was aborted or the node was removed, and everything is as it should be left. */
  async run(signal: AbortSignal, { stopContainers }: { stopContainers: boolean }): Promise<void> {
    const removed = new Promise<void>((resolve) => {
      this.#onRemoved = resolve;
    });
    const told = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    const fromDisk = this.#clock.after(desiredFromDiskAfterMs, () => this.#goByDisk());
    const link = this.#link.run();
    try {
      await Promise.race([removed, told]);
      if (this.#isRemoved) await this.#clean();
    } finally {
      fromDisk.cancel();
      this.#ending.abort(new DvsError("UNAVAILABLE", "The agent ends."));
      await this.#close();
    }
    await link;
    if (stopContainers && !this.#isRemoved) await this.#stopAll();
  }

  #receive(message: ToAgent): void {
    if (this.#isRemoved) return;
    switch (message.type) {
      case "ping":
        return;
      case "desired":
        void this.#take(message.desired);
        return;
      case "logs":
        void this.#sendLog(message);
        return;
      case "kernelStream":
        void this.#kernelStreams.send(message);
        return;
      case "records":
        this.#kernels.take(message);
        return;
      case "removed":
        this.#parts.log("warn", "this node was removed from its cluster: it stops everything and ends");
        this.#isRemoved = true;
        this.#onRemoved?.();
    }
  }

  /** They come and go after a join: kept, so that a node that starts again finds those that are there then. */
  #meetCoordinators(addresses: readonly string[]): void {
    const { coordinator, data, enrolled, log } = this.#parts;
    const { identity } = enrolled;
    if (this.#isRemoved || identity.agentAddresses.join() === addresses.join()) return;
    const parsed = AgentAddresses.safeParse(addresses);
    if (!parsed.success) {
      log("warn", `ignored addresses of coordinators: ${addresses.join(", ").slice(0, 200)}`);
      return;
    }
    identity.agentAddresses = parsed.data;
    coordinator.setAddresses(parsed.data);
    log("info", `coordinators: ${parsed.data.join(", ")}`);
    const save = () => saveNodeIdentity(data, identity);
    this.#identitySaved = this.#identitySaved
      .then(save)
      .catch((e: unknown) =>
        log("warn", `cannot keep the coordinators' addresses: ${DvsError.from(e).message}`),
      );
  }

  async #take(desired: Desired): Promise<void> {
    if (await this.#desired.offer(desired)) this.#apply(desired);
    this.#link.reportChanged();
  }

  #goByDisk(): void {
    const desired = this.#desired.last;
    if (!desired || this.#applied) return;
    this.#parts.log(
      "warn",
      `no coordinator answers: this node goes by revision ${desired.revision} on its disk`,
    );
    this.#apply(desired);
  }

  #apply(desired: Desired): void {
    if (this.#isRemoved) return;
    this.#applied = desired;
    this.#certificates.setWanted(desired.containers);
    this.#parts.images.setWanted(
      new Set(desired.containers.map((c) => c.image).filter((image) => image !== null)),
    );
    this.#supervisor.setDesired(desired.containers);
    this.#kernels.setWanted(new Set(desired.containers.map((c) => c.uid)));
    this.#changed();
  }

  /** Called at each change of anything: cheap when nothing follows from it. */
  #changed(): void {
    this.#maybeSetTable();
    this.#link.reportChanged();
  }

  #maybeSetTable(): void {
    const desired = this.#applied;
    // A restarted agent does not yet know which of its containers serve; the ingress does.
    if (!desired || this.#supervisor.isSettling()) return;
    const locals = this.#supervisor.readyLocals();
    const { certificate, key, workloadCa } = this.#parts.enrolled.certificates;
    const from = { desired, locals: JSON.stringify([...locals]), certificate };
    const last = this.#tableFrom;
    if (last?.desired === desired && last.locals === from.locals && last.certificate === certificate) {
      return;
    }
    this.#tableFrom = from;
    this.#ingress.setTable(ingressTable(desired, locals, { certificate, key, ca: workloadCa }));
  }

  #reportParts(): Omit<Report, "version" | "runtime" | "bootId" | "cpus" | "memoryBytes" | "diskFreeBytes"> {
    const warnings = [
      ...this.#desired.warnings(),
      ...this.#ingress.warnings(),
      ...this.#parts.images.warnings(),
      this.#lagWarning,
    ];
    return {
      replicas: [],
      revision: this.#applied?.revision ?? 0,
      containers: this.#supervisor.reports(),
      ports: this.#ingress.ports,
      ingressRequests: this.#ingress.requests,
      warnings: warnings.filter((w) => w !== ""),
    };
  }

  async #sendLog(message: Extract<ToAgent, { type: "logs" }>): Promise<void> {
    const { id, uid, file = "container", tailLines, follow } = message;
    const { data, coordinator, log } = this.#parts;
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, this.#ending.signal]);
    try {
      const known = this.#supervisor.reports().some((c) => c.uid === uid);
      if (!known) throw new DvsError("NOT_FOUND", `no container ${uid} is here`);
      const dir = containerDirOf(data, uid);
      const path = file === "access" ? dir.accessLog : dir.log;
      // Before the first request there is no such file: whoever follows waits for it.
      if (file === "access") await (await open(path, "a", 0o600)).close();
      const body = await streamLog(path, { tailLines, follow, signal });
      await coordinator.sendStream(id, body, signal);
    } catch (e) {
      if (this.#ending.signal.aborted) return;
      log("warn", `cannot send the log of ${uid}: ${DvsError.from(e).message}`);
      // An empty stream, so that whoever waits for it does not wait longer.
      await coordinator.sendStream(id, new Blob([]).stream(), this.#ending.signal).catch(() => {});
    } finally {
      done.abort();
    }
  }

  /** Everything of the cluster goes: containers, ingress, identity, files. */
  async #clean(): Promise<void> {
    const { data, images } = this.#parts;
    this.#supervisor.setDesired([]);
    while (!this.#supervisor.isEmpty()) {
      await new Promise((resolve) => {
        setTimeout(resolve, 20);
      });
    }
    await this.#ingress.stop(containerStopGraceMs);
    images.close();
    await this.#identitySaved;
    await forgetIdentity(data);
    await rm(data.run, { recursive: true, force: true });
    await rm(data.blobs, { recursive: true, force: true });
  }

  async #stopAll(): Promise<void> {
    const running = await findProcesses(this.#parts.data.run);
    const graceMs = { ...timingDefaults, ...this.#parts.timing }.stopGraceMs;
    await endProcesses(running, graceMs);
  }

  #lookAtLag(): void {
    const lag = this.#clock.takeLagMs();
    this.#lagWarning = lag < lagWarnMs ? "" : `the agent's loop was ${Math.round(lag / 100) / 10} s late`;
  }

  async #close(): Promise<void> {
    clearInterval(this.#lagTimer);
    this.#renewal.stop();
    this.#desired.close();
    this.#certificates.close();
    await Promise.all([this.#supervisor.close(), this.#ingress.close()]);
    this.#parts.images.close();
    this.#disk.close();
    this.#clock.close();
    this.#parts.coordinator.close();
  }
}
