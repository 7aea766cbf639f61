/**
 * The parts of an agent, joined: what the coordinator wants goes to supervisor and ingress, what they say goes back
 * with the heartbeats. When no coordinator answers everything goes on by the last word of one, which lies on disk.
 */
import { open, readdir, rm } from "node:fs/promises";
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
  stateReadyTimeoutMs,
} from "../limits.ts";
import { type Renewal, startRenewal } from "../transport/renewal.ts";
import { ActiveClock } from "./active-clock.ts";
import { type ContainerParts, type ContainerProcesses, containerProcesses } from "./container-processes.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { containerDirOf, type DataDir, instanceDirOf, stateDirOf } from "./data-dir.ts";
import { DesiredStore } from "./desired-store.ts";
import {
  AgentAddresses,
  type Enrolled,
  forgetIdentity,
  saveCertificates,
  saveNodeIdentity,
} from "./identity.ts";
import { FilesStreams } from "./files-streams.ts";
import { IngressProcess } from "./ingress-process.ts";
import { InstanceCertificates } from "./instance-certificates.ts";
import { InstanceSecrets } from "./instance-secret.ts";
import { ingressTable } from "./ingress-table.ts";
import { KernelRelay } from "./kernel-relay.ts";
import { KernelStreams } from "./kernel-streams.ts";
import { KvStreams } from "./kv-streams.ts";
import { limited } from "./limited.ts";
import { AgentLink } from "./link.ts";
import { endProcesses } from "./local-processes.ts";
import { streamLog } from "./log-stream.ts";
import type { NodeImages } from "./node-images.ts";
import { findProcesses } from "./proc-scan.ts";
import { OutsideClients } from "./outside-clients.ts";
import type { Reached } from "./reached.ts";
import { DiskWatch, reporter } from "./report.ts";
import { linkTls } from "../state/link/link-identity.ts";
import { addressesOf } from "../state/replica-set.ts";
import { StateExits } from "./state-exits.ts";
import { StateProcesses } from "./state-processes.ts";
import { StateTransfers } from "./state-transfers.ts";
import type { Log } from "./supervisor.ts";
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

/** A state process may have to read a long log first; that it hangs is seen otherwise. */
const stateTiming = { readyTimeoutMs: stateReadyTimeoutMs };

/** A loop that is this late holds heartbeats back; people should know. */
const lagWarnMs = 500;
const lagLookMs = 10_000;

export class NodeAgent {
  readonly #parts: AgentParts;
  readonly #clock = new ActiveClock();
  readonly #ending = new AbortController();
  readonly #disk: DiskWatch;
  readonly #desired: DesiredStore;
  readonly #secrets: InstanceSecrets;
  readonly #containers: ContainerProcesses;
  readonly #states: StateProcesses;
  readonly #transfers: StateTransfers;
  readonly #ingress: IngressProcess;
  readonly #certificates: InstanceCertificates;
  readonly #stateCertificates: InstanceCertificates;
  readonly #kernels: KernelRelay;
  readonly #kernelStreams: KernelStreams;
  readonly #kvStreams: KvStreams;
  readonly #filesStreams: FilesStreams;
  readonly #outside: OutsideClients;
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
    this.#secrets = new InstanceSecrets(data);
    const signed = {
      clusterId,
      nodeId,
      clusterCa: certificates.clusterCa,
      workloadCa: certificates.workloadCa,
      coordinator,
      log,
      signal,
    };
    this.#certificates = new InstanceCertificates({
      ...signed,
      dirOf: (uid) => containerDirOf(data, uid),
      onRenewed: (uid, tls) => {
        this.#containers.tell(uid, { type: "tls", ...tls });
        this.#outside.changed(uid);
      },
    });
    this.#stateCertificates = new InstanceCertificates({
      ...signed,
      dirOf: (uid) => stateDirOf(data, uid),
      onRenewed: (uid, tls) => {
        this.#states.pushTls(uid, tls);
        this.#outside.changed(uid);
      },
    });
    this.#kernels = new KernelRelay({ coordinator, log, signal });
    this.#kernelStreams = new KernelStreams({
      coordinator,
      tell: (uid, message) => this.#containers.tell(uid, message),
      signal,
    });
    this.#kvStreams = new KvStreams({ coordinator, reach: (uid) => this.#reach(uid), signal });
    this.#filesStreams = new FilesStreams({ coordinator, reach: (uid) => this.#reach(uid), signal });
    this.#transfers = new StateTransfers({ data, coordinator, log, signal });
    this.#outside = new OutsideClients({
      socket: data.clientsSocket,
      find: (instance) => this.#uidOf(instance),
      reach: (uid) => this.#credentials(uid),
      log,
    });
    const node = { id: nodeId, name, address };
    const supervision = { clock, timing, livenessMs, command, onChange, step, log };
    this.#states = new StateProcesses({
      data,
      clusterId,
      node,
      secrets: this.#secrets,
      certificates: this.#stateCertificates,
      coordinator,
      tellContainer: (uid, replicas) => {
        this.#containers.tell(uid, { type: "replicas", replicas });
        this.#outside.changed(uid);
      },
      hasContainer: (uid) => this.#containers.has(uid),
      parts: { ...supervision, timing: { ...timing, ...stateTiming, ...parts.timing } },
      signal,
    });
    const exits = new StateExits({ reach: (uid) => this.#reach(uid), log, signal });
    const gone = (how: "exited" | "found") => (uid: string, incarnation: string) => {
      this.#kernels[how](uid, incarnation);
      void exits.certify(uid, incarnation);
    };
    const containers: ContainerParts = {
      kernels: {
        receive: (...message) => this.#kernels.receive(...message),
        unlinked: (uid, incarnation) => this.#kernels.unlinked(uid, incarnation),
        exited: gone("exited"),
        found: gone("found"),
      },
      onKernelLine: (id, line) => this.#kernelStreams.line(id, line),
      data,
      node,
      secrets: this.#secrets,
      replicasFor: (uid) => this.#states.replicasFor(uid),
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
    };
    this.#containers = containerProcesses(containers, supervision);
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
    await Promise.all([
      ...[this.#ingress.start(), this.#containers.adopt(), this.#states.adopt()],
      this.#outside.listen(),
    ]);
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
      case "kvStream":
        void this.#kvStreams.send(message);
        return;
      case "filesStream":
        void this.#filesStreams.send(message);
        return;
      case "records":
        this.#kernels.take(message);
        return;
      case "replicas":
        this.#states.relay.take(message);
        return;
      case "backup":
        void this.#transfers.backup(message);
        return;
      case "restore":
        void this.#transfers.restore(message);
        return;
      case "removed":
        this.#parts.log("warn", "this node was removed from its cluster: it stops everything and ends");
        this.#isRemoved = true;
        this.#onRemoved?.();
    }
  }

  /** As a client of an instance's OS state. Null where nothing of the instance is here. */
  async #reach(uid: string): Promise<Reached | null> {
    const known = await this.#credentials(uid);
    if (!known) return null;
    const { node, replicas } = known;
    const secret = new Uint8Array(Buffer.from(known.secret, "hex"));
    const identity = { instance: uid, node, disk: "", secret, tls: linkTls(() => this.#tlsOf(uid)) };
    return { identity, replicas: addressesOf(replicas) };
  }

  async #credentials(uid: string) {
    const replicas = await this.#states.replicasFor(uid);
    if (!replicas) return null;
    const secret = await this.#secrets.of(uid);
    const { data, enrolled } = this.#parts;
    const tls = this.#tlsOf(uid);
    return { uid, node: enrolled.identity.nodeId, secret, tls, replicas, blobs: data.blobs };
  }

  #tlsOf(uid: string) {
    return this.#stateCertificates.of(uid) ?? this.#certificates.of(uid);
  }

  /** Of an instance that has something here. */
  #uidOf(instance: string): string {
    const { containers = [], replicas = [] } = this.#applied ?? {};
    const here = [...containers, ...replicas].filter((spec) => spec.instance === instance);
    const uids = new Set(here.map(({ uid }) => uid));
    const { name } = this.#parts.enrolled.identity;
    if (uids.size === 1) return [...uids][0]!;
    if (uids.size > 1) throw new DvsError("CONFLICT", `Several tenants have an instance "${instance}".`);
    throw new DvsError(
      "NOT_FOUND",
      `Node ${name} has nothing of instance "${instance}": mount it on one of its nodes (dvs instance ps ${instance}).`,
    );
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
      new Set([...desired.containers, ...desired.replicas].flatMap(({ image }) => image ?? [])),
    );
    this.#stateCertificates.setWanted(desired.replicas);
    this.#containers.setDesired(desired.containers);
    this.#states.setDesired(desired);
    this.#kernels.setWanted(new Set(desired.containers.map((c) => c.uid)));
    void this.#forgetInstances([...desired.containers, ...desired.replicas]);
    this.#changed();
  }

  /** What the host processes of an instance share goes when none of them is wanted here any more. */
  async #forgetInstances(wanted: readonly { uid: string }[]): Promise<void> {
    const uids = new Set(wanted.map(({ uid }) => uid));
    this.#states.relay.setWanted(uids);
    const { data, log } = this.#parts;
    try {
      for (const uid of await readdir(data.instances)) {
        if (uids.has(uid) || this.#containers.has(uid) || this.#states.has(uid)) continue;
        this.#secrets.forget(uid);
        await rm(instanceDirOf(data, uid).root, { recursive: true, force: true });
      }
    } catch (e) {
      log("warn", `cannot tidy ${data.instances}: ${DvsError.from(e).message}`);
    }
  }

  /** Called at each change of anything: cheap when nothing follows from it. */
  #changed(): void {
    this.#states.review();
    this.#maybeSetTable();
    this.#link.reportChanged();
  }

  #maybeSetTable(): void {
    const desired = this.#applied;
    // A restarted agent does not yet know which of its containers serve; the ingress does.
    if (!desired || this.#containers.isSettling()) return;
    const locals = this.#readyLocals();
    const { certificate, key, workloadCa } = this.#parts.enrolled.certificates;
    const from = { desired, locals: JSON.stringify([...locals]), certificate };
    const last = this.#tableFrom;
    if (last?.desired === desired && last.locals === from.locals && last.certificate === certificate) {
      return;
    }
    this.#tableFrom = from;
    this.#ingress.setTable(ingressTable(desired, locals, { certificate, key, ca: workloadCa }));
  }

  /** Containers of this node that requests may be sent to. */
  #readyLocals(): Map<string, { socket: string; incarnation: string }> {
    const locals = new Map<string, { socket: string; incarnation: string }>();
    for (const [uid, incarnation] of this.#containers.ready()) {
      locals.set(uid, { socket: containerDirOf(this.#parts.data, uid).httpSocket, incarnation });
    }
    return locals;
  }

  #reportParts(): Omit<Report, "version" | "runtime" | "bootId" | "cpus" | "memoryBytes" | "diskFreeBytes"> {
    const warnings = [
      ...this.#desired.warnings(),
      ...this.#ingress.warnings(),
      ...this.#parts.images.warnings(),
      ...this.#states.warnings(),
      this.#lagWarning,
    ];
    return {
      revision: this.#applied?.revision ?? 0,
      containers: this.#containers.reports(),
      replicas: this.#states.reports(),
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
      const known = this.#containers.reports().some((c) => c.uid === uid);
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

  /** Everything of the cluster goes: containers, ingress, identity, files; but for what nobody could bring back. */
  async #clean(): Promise<void> {
    const { data, images, log } = this.#parts;
    this.#containers.setDesired([]);
    await until(() => this.#containers.isEmpty());
    this.#states.stopAll();
    await until(() => this.#states.isEmpty());
    const left = await readdir(data.state);
    if (left.length > 0) log("warn", `the state of instances in ${data.state} is kept: remove it by hand`);
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
    this.#stateCertificates.close();
    await Promise.all([
      ...[this.#containers.close(), this.#states.close(), this.#ingress.close()],
      this.#outside.close(),
    ]);
    this.#parts.images.close();
    this.#disk.close();
    this.#clock.close();
    this.#parts.coordinator.close();
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
}
