/**
 * A store that the coordinators run themselves: each keeps one member of an etcd beside it (`dvs coordinator start
 * --ha`). The first makes the cluster; the others come with a token, get a certificate of the store's authority, join
 * as learners and are given a vote when they have caught up.
 *
 * What is written is on a majority of the machines, so that of three one may be lost. A member that has lost its data
 * comes back as a new one: as the old one it would have forgotten what it promised.
 */
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { DvsError } from "../../errors.ts";
import { systemClock } from "../../store/clock.ts";
import { Gateway } from "../../store/etcd/gateway.ts";
import { tlsTransport, type EtcdTransport } from "../../store/etcd/transport.ts";
import { settled } from "../../store/etcd/patience.ts";
import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import type { TlsIdentity } from "../../transport/dial.ts";
import { startRenewal, type Renewal } from "../../transport/renewal.ts";
import { createAuthority, type Authority } from "../../trust/authority.ts";
import { makePrivateDir, writeSmallFile } from "../../files.ts";
import type { Log } from "../log.ts";
import { pause } from "../pause.ts";
import { findEtcd, type EtcdBinary } from "./etcd-binary.ts";
import { addLearner, listMembers, promote, removeMember, type EtcdMember } from "./etcd-members.ts";
import { EtcdProcess } from "./etcd-process.ts";
import { etcdArgs } from "./etcd-args.ts";
import {
  clientUrl,
  haDirOf,
  peerUrl,
  readIdentity,
  readMember,
  writeCa,
  writeIdentity,
  writeMember,
  type HaDir,
  type MemberFile,
} from "./ha-files.ts";
import { joinStore } from "./join-store.ts";
import { keepStoreAuthority, makeMemberIdentity, readStoreAuthority, signMember } from "./store-authority.ts";

/** Keys of dvs lie below it, as in an etcd that serves others too. */
export const storePrefix = "/dvs";
const retryMs = 300;
const membersLookMs = 2_000;
/** A machine that stops does not wait longer for the others' word. */
const lastLookMs = 1_000;
const timeouts = { attemptMs: 2_000, deadlineMs: 8_000 };

export interface HaOptions {
  dataDir: string;
  /** Of the coordinator. */
  id: string;
  /** Under which the other machines reach this one. */
  host: string;
  /** What its etcd listens on: an IP address. */
  listenHost: string;
  /** For clients; peers use the next one. */
  port: number;
  /** A coordinator token, when this machine joins others. */
  token?: string;
  signal: AbortSignal;
  log: Log;
}

export interface HaStore {
  store: Store;
  /** URLs of this member. */
  etcd: { client: string; peer: string };
  /** Takes a machine that is gone out of the store's members. */
  remove(peerUrl: string): Promise<void>;
  /** To be called after the store was closed. Resolves when etcd has ended. */
  close(): Promise<void>;
}

/**
 * Null when the signal aborted first. Rejects with FAILED where there is no etcd, and as `joinStore` does; what was
 * begun is gone on with at the next start.
 */
export async function openHaStore(options: HaOptions): Promise<HaStore | null> {
  const binary = await findEtcd();
  const dir = haDirOf(options.dataDir);
  const member = (await readMember(dir)) ?? (await newMember(dir, options));
  const ha = new HaMember(options, dir, member, binary);
  try {
    await ha.start();
    return ha;
  } catch (e) {
    await ha.close();
    if (options.signal.aborted) return null;
    throw e;
  }
}

/** What etcd can listen on: it takes no host names. */
export function listenHostOf(host: string): string {
  return isIP(host) === 0 ? "0.0.0.0" : host;
}

async function newMember(dir: HaDir, options: HaOptions): Promise<MemberFile> {
  const { id, host, port, token } = options;
  const common = { version: 1 as const, name: id, host, clientPort: port, peerPort: port + 1 };
  await makePrivateDir(dir.root);
  if (token !== undefined) {
    const joined = await joinStore({ token, id, host, signal: options.signal });
    await writeCa(dir, joined.ca);
    await writeIdentity(dir, joined.identity);
    const member: MemberFile = { ...common, phase: "joining", endpoints: joined.endpoints };
    await writeMember(dir, member);
    return member;
  }
  const authority = await createAuthority("dvs store");
  await writeSmallFile(authorityFile(dir), JSON.stringify(authority), { durable: true });
  await writeCa(dir, authority.certificate);
  await writeIdentity(dir, await makeMemberIdentity(authority, id, [host]));
  const member: MemberFile = { ...common, phase: "first", endpoints: [clientUrl(common)] };
  await writeMember(dir, member);
  return member;
}

/** Only until it is in the store. */
const authorityFile = (dir: HaDir) => join(dir.root, "authority.json");

class HaMember implements HaStore {
  readonly #options: HaOptions;
  readonly #dir: HaDir;
  readonly #binary: EtcdBinary;
  readonly #closing = new AbortController();
  #member: MemberFile;
  #identity: TlsIdentity | undefined;
  #transport: EtcdTransport | undefined;
  #process: EtcdProcess | undefined;
  #store: Store | undefined;
  #gateway: Gateway | undefined;
  #renewal: Renewal | undefined;
  #following: Promise<void> = Promise.resolve();
  #told = "";

  constructor(options: HaOptions, dir: HaDir, member: MemberFile, binary: EtcdBinary) {
    this.#options = options;
    this.#dir = dir;
    this.#member = member;
    this.#binary = binary;
  }

  get store(): Store {
    return this.#store!;
  }

  get etcd() {
    return { client: clientUrl(this.#member), peer: peerUrl(this.#member) };
  }

  async start(): Promise<void> {
    const { signal, log } = this.#options;
    const { ca, identity } = await readIdentity(this.#dir);
    this.#identity = identity;
    this.#transport = tlsTransport({ ca, identity: () => this.#identity });
    const joins = this.#joins();
    const others = joins ? await this.#becomeLearner() : null;
    this.#process = await EtcdProcess.start({
      dir: this.#dir,
      command: this.#binary.path,
      args: () => etcdArgs(this.#dir, this.#member, this.#options.listenHost, others, this.#binary),
      log,
    });
    if (joins) {
      await promote(this.#toOthers(), this.etcd.peer, { signal, tell: (why) => this.#tell(why) });
      await this.#keep({ phase: "member" });
    }
    this.#store = await this.#open(ca);
    await this.#keepAuthority();
    this.#following = this.#follow();
    await this.#renew();
  }

  remove(url: string): Promise<void> {
    return removeMember(this.#gateway!, url);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#renewal?.stop();
    await this.#following;
    // Who is recovered from this machine has to know everybody who may live: also who has come just now.
    if (this.#store && this.#transport) {
      const { endpoints } = this.#member;
      const gateway = new Gateway(endpoints, timeouts, systemClock, { transport: this.#transport });
      await settled(this.#lookForMembers(gateway), lastLookMs);
    }
    this.#transport?.close();
    await this.#process?.stop();
  }

  /** Whether etcd is still to be told of this machine. */
  #joins(): boolean {
    const { phase, endpoints } = this.#member;
    if (phase === "first" || this.#dataKept()) return phase === "joining";
    if (phase === "joining" || endpoints.length > 1) return true;
    throw new DvsError(
      "FAILED",
      `Cannot start etcd: its data in ${this.#dir.data} is gone, and no other member is known. Put a backup back: dvs coordinator recover --from FILE`,
    );
  }

  #dataKept(): boolean {
    return existsSync(join(this.#dir.data, "member"));
  }

  async #becomeLearner(): Promise<EtcdMember[]> {
    const { signal, log } = this.#options;
    log("info", "joining the store of the other coordinators");
    return addLearner(this.#toOthers(), this.etcd.peer, {
      dataKept: this.#dataKept(),
      signal,
      tell: (why) => this.#tell(why),
    });
  }

  #toOthers(): Gateway {
    const others = this.#member.endpoints.filter((e) => e !== this.etcd.client);
    const endpoints = others.length > 0 ? others : [this.etcd.client];
    return new Gateway(endpoints, timeouts, systemClock, { transport: this.#transport! });
  }

  /** Waits for a majority: after a power cut each machine comes back when it does. */
  async #open(ca: string): Promise<Store> {
    const { signal } = this.#options;
    const endpoints = [...new Set([this.etcd.client, ...this.#member.endpoints])];
    const url = `etcds://${endpoints.map((e) => e.slice("https://".length)).join(",")}${storePrefix}`;
    for (;;) {
      signal.throwIfAborted();
      try {
        return await openStore(url, {
          tls: { ca, identity: () => this.#identity },
          onGateway: (gateway) => (this.#gateway = gateway),
        });
      } catch (e) {
        const error = DvsError.from(e);
        if (error.code !== "UNAVAILABLE") throw e;
        this.#tell(`the store does not answer yet; a majority of its members is needed: ${error.message}`);
        await pause(retryMs, signal);
      }
    }
  }

  async #keepAuthority(): Promise<void> {
    if (this.#member.phase !== "first") return;
    const text = await readFile(authorityFile(this.#dir), "utf8");
    await keepStoreAuthority(this.store, JSON.parse(text) as Authority);
    await this.#keep({ phase: "member" });
    await rm(authorityFile(this.#dir), { force: true });
  }

  async #keep(change: Partial<MemberFile>): Promise<void> {
    this.#member = { ...this.#member, ...change };
    await writeMember(this.#dir, this.#member);
  }

  /** Members come and go: this coordinator turns to any of them when its own does not answer, also after a restart. */
  async #follow(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await this.#lookForMembers(this.#gateway!);
      await this.#returnHome();
      await pause(membersLookMs, signal);
    }
  }

  async #lookForMembers(gateway: Gateway): Promise<void> {
    try {
      const members = await listMembers(gateway);
      const voters = members.filter((m) => !m.learner && m.name !== "").flatMap((m) => m.clientUrls);
      const endpoints = [...new Set([this.etcd.client, ...voters])];
      if (voters.length > 0 && endpoints.toSorted().join() !== this.#member.endpoints.toSorted().join()) {
        this.#gateway!.setEndpoints(endpoints);
        await this.#keep({ endpoints });
      }
    } catch {
      // No majority: those that are known are all there is to go by.
    }
  }

  /**
   * Its own member had failed, as in each election of etcd, and another one is asked since. That one is on a machine that
   * may be cut off, which is noticed only after a while: so it is left as soon as the own one serves again.
   */
  async #returnHome(): Promise<void> {
    const gateway = this.#gateway!;
    const own = this.etcd.client;
    if (gateway.endpoint === own || this.#closing.signal.aborted) return;
    try {
      const { leader } = (await gateway.callAt(own, "maintenance/status", {})) as { leader?: string };
      if (leader && leader !== "0") gateway.prefer(own);
    } catch {
      // Not yet.
    }
  }

  async #renew(): Promise<void> {
    const { id, host, log } = this.#options;
    this.#renewal = startRenewal({
      identity: this.#identity!,
      sign: async (csr) => {
        const authority = await readStoreAuthority(this.store);
        if (!authority) throw new DvsError("FAILED", "The store has no authority of its members.");
        return signMember(authority, csr, id, [host]);
      },
      install: async (renewed) => {
        await writeIdentity(this.#dir, renewed);
        this.#identity = renewed;
      },
      onError: (e) => log("error", `cannot renew the certificate for the store: ${e.message}`),
    });
    await this.#renewal.check();
  }

  /** Each reason once: it is met at every attempt. */
  #tell(why: string): void {
    if (why !== this.#told) this.#options.log("warn", why);
    this.#told = why;
  }
}
