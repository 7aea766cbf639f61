/** One container's life: boots its VOS, serves, tells agents how it is, drains and ends. */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../errors.ts";
import {
  containerStopGraceMs,
  controlLineCharsMax,
  drainQuietMs,
  failedLingerMs,
  kernelLeaveMs,
  logBytesMax,
  logFilesKept,
  kernelStartDelayMs,
} from "../limits.ts";
import type { Vos, VosRegistry } from "../vos.ts";
import { BlobRepairs } from "./blob-repairs.ts";
import { bootVos } from "./boot-vos.ts";
import type { RunDir } from "./claim.ts";
import { ControlServer } from "../transport/control-server.ts";
import { type ContainerBoot, type ContainerTls, type FromContainer, ToContainer } from "./control.ts";
import { DeferredKernel } from "./deferred-kernel.ts";
import type { KernelHost } from "./kernel-host.ts";
import { openListeners, type Listeners } from "./listeners.ts";
import { LogFile } from "./log-file.ts";
import { errorFields, type ContainerLog } from "./log.ts";
import { Service } from "./service.ts";
import type { StateHost } from "./state-host.ts";
import type { ReplicaSet } from "../state/replica-set.ts";

type State = Omit<Extract<FromContainer, { type: "state" }>, "type" | "port">;

export class Container {
  readonly #dir: RunDir;
  readonly #boot: ContainerBoot;
  readonly #log: ContainerLog["log"];
  readonly #control: ControlServer<typeof ToContainer, FromContainer>;
  readonly #repairs: BlobRepairs;
  readonly #accessLog: LogFile;
  #state: State = { state: "starting", reason: "", permanent: false };
  #service: Service | undefined;
  #listeners: Listeners | undefined;
  #deferredKernel: DeferredKernel | undefined;
  #kernel: KernelHost | undefined;
  #stateHost: StateHost | undefined;
  /** Who keeps the instance's state, as the agent has said it last. */
  #replicas: ReplicaSet | undefined;
  #requestsTold = 0;
  /** Settles at the first wish to stop, with the grace. */
  readonly #stopAsked = Promise.withResolvers<number>();
  /** Settles at the second: no more waiting. */
  readonly #cutAsked = Promise.withResolvers<void>();
  #stops = 0;
  #removal: DvsError | undefined;
  /** Rejects with that when the kernel was removed from the instance. */
  readonly #removed = Promise.withResolvers<never>();

  constructor(dir: RunDir, boot: ContainerBoot, log: ContainerLog["log"]) {
    this.#dir = dir;
    this.#boot = boot;
    this.#log = log;
    this.#accessLog = new LogFile(dir.accessLog, { bytesMax: logBytesMax, kept: logFilesKept });
    this.#removed.promise.catch(() => undefined);
    this.#control = new ControlServer({
      path: dir.controlSocket,
      schema: ToContainer,
      lineCharsMax: controlLineCharsMax,
      greeting: () => this.#greeting(),
      onMessage: (message) => this.#onMessage(message),
    });
    this.#repairs = new BlobRepairs((message) => this.#control.broadcast(message));
  }

  /** Begins to stop; said again, what is under way is cut. */
  stop(graceMs = containerStopGraceMs): void {
    if (this.#stops++ === 0) this.#stopAsked.resolve(graceMs);
    else this.#cutAsked.resolve();
  }

  /** Resolves with the exit code. */
  async run(registry: VosRegistry): Promise<number> {
    await this.#control.listen();
    const stats = setInterval(() => this.#tellRequests(), 1_000);
    try {
      return await this.#serve(registry);
    } catch (e) {
      return await this.#fail(DvsError.from(e));
    } finally {
      clearInterval(stats);
      this.#tellRequests();
      await this.#control.close();
      this.#accessLog.close();
    }
  }

  async #serve(registry: VosRegistry): Promise<number> {
    const { spec } = this.#boot;
    const stop = this.#stopAsked.promise;
    const booted = this.#open(registry);
    // Whoever is stopped while it starts need not start.
    const first = await Promise.race([booted, stop]);
    if (typeof first === "number") {
      booted.catch(() => undefined);
      this.#become({ state: "stopping", reason: "stopped while starting", permanent: false });
      return 0;
    }
    this.#become({ state: "ready", reason: "", permanent: false });
    this.#log("info", "ready", { instance: spec.instance, os: spec.os, port: first.listeners.port });
    if (this.#deferredKernel) void this.#startKernel(this.#deferredKernel);
    await this.#drain(await Promise.race([stop, this.#removed.promise]), first);
    return 0;
  }

  async #open(registry: VosRegistry): Promise<{ vos: Vos; listeners: Listeners; service: Service }> {
    const vos = await bootVos(this.#boot, registry, {
      log: this.#log,
      accessLog: (line) => this.#accessLog.write(line),
      repairBlob: (digest) => this.#repairs.ask(digest),
      kernel: ({ servesFrozen }) => (this.#deferredKernel = new DeferredKernel(servesFrozen)),
      state: () => this.#openState(),
    });
    const service = new Service(vos);
    const listeners = await openListeners(this.#boot, this.#dir.httpSocket, {
      fetch: service.fetch,
      onError: (e, request) => {
        this.#log("error", "request failed", {
          method: request.method,
          url: request.url.slice(0, 500),
          ...errorFields(e),
        });
      },
    });
    this.#service = service;
    this.#listeners = listeners;
    return { vos, listeners, service };
  }

  async #openState(): Promise<StateHost> {
    const { StateHost } = await import("./state-host.ts");
    this.#stateHost = new StateHost(this.#boot);
    if (this.#replicas) this.#stateHost.replicas(this.#replicas);
    return this.#stateHost;
  }

  async #startKernel(deferred: DeferredKernel): Promise<void> {
    // Who serves without it is not kept from its first requests: loading it is 30 ms of this very loop.
    if (deferred.servesFrozen) await sleep(kernelStartDelayMs);
    const { KernelHost } = await import("./kernel-host.ts");
    if (this.#stops > 0) return;
    const host = new KernelHost({
      boot: this.#boot,
      socket: this.#dir.kernelSocket,
      servesFrozen: deferred.servesFrozen,
      records: this.#stateHost?.records ?? null,
      send: (message) => this.#control.broadcast(message),
      onExit: (reason) => {
        const message = `The container starts anew: its kernel has ended, because ${reason}.`;
        this.#removal = new DvsError("UNAVAILABLE", message);
        this.#removed.reject(this.#removal);
      },
      log: this.#log,
    });
    this.#kernel = host;
    deferred.open(host);
    await host.start();
  }

  /**
   * Goes on serving, with health 503, until every ingress has looked elsewhere; then closes the sockets and waits for
   * what is under way. So a request that was on its way when the stop came is answered too.
   */
  async #drain(
    graceMs: number,
    running: { vos: Vos; listeners: Listeners; service: Service },
  ): Promise<void> {
    const { vos, listeners, service } = running;
    const deadline = performance.now() + graceMs;
    const cut = this.#cutAsked.promise.then(() => true);
    service.drain();
    this.#become({ state: "stopping", reason: "stopping", permanent: false });
    this.#log("info", "stopping", { graceMs });
    const quietMs = Math.min(drainQuietMs, graceMs / 2);
    for (let seen = -1; seen !== service.requests && performance.now() + quietMs < deadline;) {
      seen = service.requests;
      if (await Promise.race([sleep(quietMs, false), cut])) break;
    }
    await Promise.race([listeners.stop(Math.max(0, deadline - performance.now())), cut]);
    await vos.close?.();
    await this.#stateHost?.close(Math.max(0, deadline - performance.now()));
    await this.#kernel?.leave(Math.min(kernelLeaveMs, Math.max(0, deadline - performance.now())));
    this.#log("info", "stopped", { requests: service.requests });
  }

  /** Tells why, waits a little for an agent that asks, and gives the exit code. */
  async #fail(error: DvsError): Promise<number> {
    const anew = error === this.#removal;
    const permanent = error.code === "INVALID";
    this.#become({ state: "failed", reason: error.message, permanent, ...(anew && { anew }) });
    this.#log("error", "failed", { ...errorFields(error), permanent: this.#state.permanent });
    await Promise.race([sleep(failedLingerMs), this.#stopAsked.promise]);
    return error.exit;
  }

  #become(state: State): void {
    this.#state = state;
    this.#control.broadcast(this.#stateMessage());
  }

  #stateMessage(): FromContainer {
    return { type: "state", ...this.#state, port: this.#listeners?.port ?? 0 };
  }

  #greeting(): FromContainer[] {
    const { spec, incarnation } = this.#boot;
    return [
      { type: "hello", uid: spec.uid, incarnation, generation: spec.generation, pid: process.pid },
      this.#stateMessage(),
      { type: "stats", requests: this.#service?.requests ?? 0 },
      ...this.#repairs.messages(),
      ...(this.#kernel?.messages() ?? []),
    ];
  }

  #tellRequests(): void {
    const requests = this.#service?.requests ?? 0;
    if (requests === this.#requestsTold) return;
    this.#requestsTold = requests;
    this.#control.broadcast({ type: "stats", requests });
  }

  #onMessage(message: ToContainer): void {
    switch (message.type) {
      case "stop":
        this.stop(Math.max(0, message.graceMs));
        return;
      case "blob":
        this.#repairs.answer(message);
        return;
      case "replicas":
        this.#replicas = message.replicas;
        this.#stateHost?.replicas(message.replicas);
        return;
      case "kernelStream":
        // Where there is no kernel there is nothing to tell.
        if (!this.#kernel) this.#control.broadcast({ type: "kernelLine", id: message.id, line: null });
        this.#kernel?.receive(message);
        return;
      case "kernelStreamStop":
      case "kernelRecords":
      case "kernelProposed":
        this.#kernel?.receive(message);
        return;
      case "tls":
        this.#reload({
          certificate: message.certificate,
          key: message.key,
          ca: message.ca,
          workloadCa: message.workloadCa,
        });
    }
  }

  #reload(tls: ContainerTls): void {
    if (!this.#boot.tls) return;
    try {
      this.#listeners?.reload(tls);
      // Where the listeners are not open yet, they open with it.
      this.#boot.tls = tls;
      this.#kernel?.renewed(tls);
      this.#stateHost?.renewed(tls);
    } catch (e) {
      this.#log("error", "cannot use the new certificate, the old one stays", errorFields(e));
    }
  }
}
