/**
 * The kernel of a container: joins the instance's View, with the links to the other kernels, and tells the container
 * and its VOS how it is. It starts beside the VOS, so that nobody waits for it who does not need it, and is loaded
 * only where a VOS asks for it.
 *
 *     joining ─ in the View, leased ─▶ running ⇄ frozen ─ removed from the View ─▶ exited
 *
 * A VOS that serves while it is frozen holds nothing that two kernels could disagree about: its kernel, once removed,
 * joins again under another incarnation, `<container's>-k2`. Every other container ends then and is started anew.
 */
import type { KernelState } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import type { BindRequest, Kernel } from "../kernel/kernel.ts";
import { type LinkedKernel, linkKernel } from "../kernel/linked-kernel.ts";
import type { Process } from "../kernel/process.ts";
import { kernelRejoinMs } from "../limits.ts";
import { derOf } from "../trust/certificate.ts";
import { instanceUri, parseIdentity } from "../trust/identity.ts";
import type { VosKernel } from "../vos.ts";
import type { ContainerBoot, ContainerTls, FromContainer, ToContainer } from "./control.ts";
import type { ContainerLog } from "./log.ts";
import { KernelStreams } from "./kernel-streams.ts";
import { RelayedRecords } from "./relayed-records.ts";
import type { StateRecords } from "./state-records.ts";

export interface KernelHostOptions {
  boot: ContainerBoot;
  /** `kernel.sock` of the run directory. */
  socket: string;
  servesFrozen: boolean;
  /** Orders the instance's records; null: the control store does, through the agent. */
  records: StateRecords | null;
  /** To every agent that listens; false when none does. */
  send(message: FromContainer): boolean;
  /** The kernel is no longer in the View, and the container is to end. */
  onExit(reason: string): void;
  log: ContainerLog["log"];
}

/** One incarnation of the kernel, from its start to its removal. */
interface Life extends LinkedKernel {
  records: RelayedRecords | StateRecords;
}

export class KernelHost implements VosKernel {
  readonly #options: KernelHostOptions;
  readonly #listeners = new Set<(state: KernelState["state"]) => void>();
  readonly #streams: KernelStreams;
  #tls: ContainerTls | null;
  #life: Life | null = null;
  #lives = 0;
  #state: KernelState["state"] = "joining";
  /** Settles with each kernel that has begun; bind() waits for it. */
  #begun = Promise.withResolvers<Life>();
  #ended = false;
  #rejoin: ReturnType<typeof setTimeout> | undefined;

  constructor(options: KernelHostOptions) {
    this.#options = options;
    this.#tls = options.boot.tls;
    this.#streams = new KernelStreams((id, line) => options.send({ type: "kernelLine", id, line }));
  }

  /** Never rejects: what goes wrong is told, and tried again where that can help. */
  async start(): Promise<void> {
    try {
      await this.#begin();
    } catch (e) {
      if (this.#ended) return;
      this.#options.log("error", "the kernel cannot start", { error: String(e) });
      this.#rejoin = setTimeout(() => void this.start(), kernelRejoinMs);
    }
  }

  get state(): KernelState["state"] {
    return this.#state;
  }
  get id(): number {
    return this.#life?.kernel.machine.id ?? 0;
  }
  get kernel(): Kernel | null {
    return this.#life?.kernel ?? null;
  }

  async bind(request: BindRequest): Promise<Process> {
    const { kernel } = await this.#begun.promise;
    return kernel.bind(request);
  }
  members(): { kernel: number; node: string }[] {
    const members = this.#life?.kernel.machine.view.members.values() ?? [];
    return [...members].map(({ kernel, node }) => ({ kernel, node }));
  }
  onState(listener: (state: KernelState["state"]) => void): void {
    this.#listeners.add(listener);
  }

  /** What a new agent has to be told. */
  messages(): FromContainer[] {
    return [this.#stateMessage(), ...(this.#life?.records.messages() ?? [])];
  }
  receive(message: Extract<ToContainer, { type: `kernel${string}` }>): void {
    switch (message.type) {
      case "kernelStream":
        return this.#streams.start(message.id, message);
      case "kernelStreamStop":
        return this.#streams.stop(message.id);
      default:
        this.#life?.records.receive(message);
    }
  }
  renewed(tls: ContainerTls): void {
    this.#tls = tls;
    this.#life?.links.renewed();
  }

  /** Leaves the View, so that nobody has to wait for its lease; at most for `graceMs`. */
  async leave(graceMs: number): Promise<void> {
    this.#ended = true;
    clearTimeout(this.#rejoin);
    const life = this.#life;
    if (!life) return;
    const { machine } = life.kernel;
    if (machine.id !== 0 && !machine.exited) {
      const left = new Promise<void>((resolve) => {
        this.onState((state) => state === "exited" && resolve());
      });
      machine.leave();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs);
      });
      await Promise.race([left, late]);
      clearTimeout(timer);
    }
    life.kernel.stop();
    life.links.close();
  }

  async #begin(): Promise<void> {
    const { boot, socket, log } = this.#options;
    const { spec, node, listen } = boot;
    const n = ++this.#lives;
    const incarnation = n === 1 ? boot.incarnation : `${boot.incarnation}-k${n}`;
    const uri = this.#instanceUri();
    const relayed = () =>
      new RelayedRecords({
        send: (message) => this.#options.send(message),
        onGap: (reason) => {
          log("error", "the kernel has to begin anew", { reason });
          this.#exit(life, reason);
        },
      });
    const records = this.#options.records ?? relayed();
    const linked = await linkKernel({
      member: { incarnation, node: node.id, cpu: 0, host: listen.host },
      links: {
        instance: spec.uid,
        unix: { path: socket, secret: secretOf(boot), node: node.id },
        tls:
          uri === null
            ? null
            : {
                listen: { host: listen.host, port: 0 },
                instanceUri: uri,
                certificate: () => {
                  const { certificate, key, workloadCa } = this.#tls!;
                  return { certificate, key, ca: workloadCa! };
                },
              },
        report: (text) => log("warn", `link between kernels: ${text}`),
      },
      log: records,
      host: {
        freeze: () => this.#become("frozen"),
        thaw: () => this.#become("running"),
        exit: () => this.#exit(life, "it was removed from the instance's view"),
      },
      watch: (direction, peer, message) => this.#streams.message(direction, peer, message),
    });
    if (this.#ended) return linked.links.close();
    const life: Life = { ...linked, records };
    this.#life = life;
    this.#streams.attach(life.kernel.machine);
    this.#become("joining");
    this.#begun.resolve(life);
    linked.run().catch((e: unknown) => this.#exit(life, String(e)));
  }

  #exit(life: Life, reason: string): void {
    if (this.#life !== life) return;
    life.kernel.stop();
    // Not within a step of the proxies, which may be what has led here.
    setImmediate(() => life.links.close());
    this.#life = null;
    this.#streams.attach(null);
    this.#begun = Promise.withResolvers();
    this.#become("exited");
    if (this.#ended) return;
    this.#options.log("warn", "the kernel has ended", { reason });
    if (!this.#options.servesFrozen) return this.#options.onExit(reason);
    this.#rejoin = setTimeout(() => void this.start(), kernelRejoinMs);
  }

  #become(state: KernelState["state"]): void {
    this.#state = state;
    this.#options.send(this.#stateMessage());
    for (const listener of this.#listeners) listener(state);
  }

  #stateMessage(): FromContainer {
    return { type: "kernel", kernel: this.id, state: this.#state };
  }

  /** Null without TLS, and from an agent that does not know of kernels: then there are only those of this node. */
  #instanceUri(): string | null {
    if (!this.#tls?.workloadCa) return null;
    const identity = parseIdentity(derOf(this.#tls.certificate));
    if (identity?.kind !== "container") {
      throw new DvsError(
        "INVALID",
        "Cannot link kernels: the container's certificate is not one of a container.",
      );
    }
    return instanceUri(identity);
  }
}

/** Without one, from an agent that does not know of kernels, it is one that nobody else has. */
function secretOf({ kernelSecret }: ContainerBoot): Uint8Array {
  return kernelSecret
    ? new Uint8Array(Buffer.from(kernelSecret, "hex"))
    : crypto.getRandomValues(new Uint8Array(32));
}
