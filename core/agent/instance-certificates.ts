/**
 * Certificates of this node's containers, or of its state processes: an instance's on this node. The key is made here
 * and never leaves the node; both are kept beside the process, so that it starts without a coordinator. Renewed at a
 * third of their life and pushed to the running process; until that works the old one goes on.
 */
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { agentRequestTimeoutMs } from "../limits.ts";
import { type Renewal, startRenewal } from "../transport/renewal.ts";
import { derOf } from "../trust/certificate.ts";
import { containerUri, parseIdentity, uriOf, validityOf } from "../trust/identity.ts";
import { createKeyAndCsr } from "../trust/key.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { limited } from "./limited.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import type { Log } from "./supervisor.ts";

/** Of what instance. */
export interface Certified {
  tenant: string;
  instance: string;
  uid: string;
}

export interface InstanceCertificatesOptions {
  /** Where a process has its own: `tls` in `root`. */
  dirOf(uid: string): { root: string; tls: string };
  clusterId: string;
  nodeId: string;
  /** Signs the ingresses that may connect to a container. */
  clusterCa: string;
  /** Signs containers: of other nodes, whose kernels link to this one's. */
  workloadCa: string;
  coordinator: Pick<CoordinatorLink, "containerCertificate">;
  onRenewed(uid: string, tls: TlsFiles): void;
  log: Log;
  signal: AbortSignal;
}

/** What a process is given. PEM. */
export interface TlsFiles {
  certificate: string;
  key: string;
  ca: string;
  workloadCa: string;
}

/** `tls.json` in a process's directory; PEM both. */
const Pair = z.object({ certificate: z.string(), key: z.string() });
type Pair = z.infer<typeof Pair>;

interface Kept {
  pair: Pair;
  renewal: Renewal;
}

export class InstanceCertificates {
  readonly #options: InstanceCertificatesOptions;
  readonly #kept = new Map<string, Kept>();
  #wanted: ReadonlySet<string> = new Set();

  constructor(options: InstanceCertificatesOptions) {
    this.#options = options;
  }

  /** What is wanted and has a certificate is kept fresh, also for a container that runs since before this agent. */
  setWanted(containers: readonly Certified[]): void {
    const wanted = new Set(containers.map((spec) => spec.uid));
    for (const [uid, { renewal }] of this.#kept) {
      if (wanted.has(uid)) continue;
      renewal.stop();
      this.#kept.delete(uid);
    }
    this.#wanted = wanted;
    for (const spec of containers) if (!this.#kept.has(spec.uid)) void this.#resume(spec);
  }

  /** Rejects with UNAVAILABLE when there is none that is valid and no coordinator gives one. */
  async ensure(spec: Certified): Promise<void> {
    const known = this.#kept.get(spec.uid)?.pair ?? (await this.#load(spec));
    if (known && Date.now() < validityOf(known.certificate).notAfterMs) return this.#keep(spec, known);
    try {
      const { key, csr } = await createKeyAndCsr(spec.instance);
      const certificate = await this.#sign(spec, csr, this.#options.signal);
      if (!this.#isFor(spec, certificate))
        throw new Error(`it certified somebody else than ${spec.instance}`);
      await this.#save(spec, { certificate, key });
      this.#keep(spec, { certificate, key });
    } catch (e) {
      const error = DvsError.from(e);
      const code = error.code === "EXHAUSTED" ? "EXHAUSTED" : "UNAVAILABLE";
      throw new DvsError(code, `waits for its certificate: ${error.message}`, { cause: e });
    }
  }

  of(uid: string): TlsFiles | null {
    const kept = this.#kept.get(uid);
    return kept ? this.#files(kept.pair) : null;
  }

  #files({ certificate, key }: Pair): TlsFiles {
    const { clusterCa, workloadCa } = this.#options;
    return { certificate, key, ca: clusterCa, workloadCa };
  }

  close(): void {
    for (const { renewal } of this.#kept.values()) renewal.stop();
    this.#kept.clear();
  }

  async #resume(spec: Certified): Promise<void> {
    const pair = await this.#load(spec).catch(() => null);
    if (!pair || this.#kept.has(spec.uid) || !this.#wanted.has(spec.uid)) return;
    this.#keep(spec, pair);
    // The earlier agent may have died between renewing it and telling the container.
    this.#options.onRenewed(spec.uid, this.#files(pair));
  }

  #keep(spec: Certified, pair: Pair): void {
    if (this.#kept.has(spec.uid) || this.#options.signal.aborted) return;
    const renewal = startRenewal({
      identity: pair,
      sign: (csr, signal) => this.#sign(spec, csr, signal),
      install: async (next) => {
        await this.#save(spec, next);
        const kept = this.#kept.get(spec.uid);
        if (!kept) return;
        kept.pair = next;
        this.#options.onRenewed(spec.uid, this.#files(next));
      },
      onError: (e) => {
        this.#options.log("warn", `cannot renew the certificate of ${spec.instance}: ${e.message}`);
      },
    });
    this.#kept.set(spec.uid, { pair, renewal });
  }

  async #sign(spec: Certified, csr: string, signal: AbortSignal): Promise<string> {
    const { coordinator } = this.#options;
    const ask = (s: AbortSignal) => coordinator.containerCertificate(spec.uid, csr, s);
    return (await limited(signal, agentRequestTimeoutMs, ask)).certificate;
  }

  async #save(spec: Certified, pair: Pair): Promise<void> {
    const dir = this.#options.dirOf(spec.uid);
    await makePrivateDir(dir.root);
    await writeSmallFile(dir.tls, JSON.stringify(pair), { durable: true });
  }

  /** Null where there is none, or one for somebody else: a data directory that was copied. */
  async #load(spec: Certified): Promise<Pair | null> {
    const parsed = Pair.safeParse(await readJsonFile(this.#options.dirOf(spec.uid).tls));
    return parsed.success && this.#isFor(spec, parsed.data.certificate) ? parsed.data : null;
  }

  #isFor(spec: Certified, certificate: string): boolean {
    const { clusterId, nodeId } = this.#options;
    const { tenant, instance, uid } = spec;
    const identity = parseIdentity(derOf(certificate));
    return (
      identity !== null && uriOf(identity) === containerUri({ clusterId, tenant, instance, uid, nodeId })
    );
  }
}
