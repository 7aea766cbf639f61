/**
 * The replicas' data on this node: state/<uid>/, each its state process's own. It outlives stops, restarts and moves of
 * everything else, and is removed when the coordinator no longer names it: the instance was removed, or others have
 * taken its place.
 *
 * A store that was restored from an old copy names what was there then, and an instance that is younger is not in it.
 * So what is not named is removed only if a Desired of the very same generation of the store has named it before; what
 * an older generation has named is kept, and people are told. `state/<uid>.json` remembers which one that was.
 *
 * And a Desired may be old when it arrives: the replica may be wanted again by now, and its process, which was never
 * stopped, in sync. So the store itself is asked once its process has ended; while nobody answers nothing is removed.
 */
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { ReplicaSpec } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import { type DataDir, stateDirOf, Uid } from "./data-dir.ts";
import type { Log } from "./supervisor.ts";

const Named = z.object({ tenant: z.string(), instance: z.string(), storeGeneration: z.number().int() });
type Named = z.infer<typeof Named>;

export interface StateDataOptions {
  data: DataDir;
  /** Its process is here: nothing is removed under it. */
  busy(uid: string): boolean;
  /** By the store as it is now. Rejects when nobody tells. */
  isGone(of: { tenant: string; instance: string; uid: string }): Promise<boolean>;
  /** Before a coordinator that did not answer is asked again. */
  retryMs: number;
  onChange(): void;
  log: Log;
}

export class StateData {
  readonly #options: StateDataOptions;
  /** What is on the disk. */
  readonly #kept = new Map<string, Named>();
  #wanted: { specs: ReadonlyMap<string, ReplicaSpec>; storeGeneration: number } | null = null;
  /** One thing at a time: what is made is not being removed. */
  #work: Promise<unknown> = Promise.resolve();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  /** Told last. */
  #trouble = "";

  constructor(options: StateDataOptions) {
    this.#options = options;
  }

  /** Finds what an earlier agent has left, and goes on with what it was removing. */
  async load(): Promise<void> {
    const { state } = this.#options.data;
    for (const name of await readdir(state)) {
      const uid = name.replace(/\.json$/, "");
      if (name.startsWith(removedPrefix)) await rm(join(state, name), { recursive: true, force: true });
      else if (Uid.safeParse(uid).success) this.#kept.set(uid, await this.#read(uid));
    }
  }

  /** What is to be kept, by a Desired of this generation of the store. */
  setWanted(replicas: readonly ReplicaSpec[], storeGeneration: number): void {
    this.#wanted = { specs: new Map(replicas.map((spec) => [spec.uid, spec])), storeGeneration };
    this.review();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /** Something has ended: looks whether anything can go. */
  review(): void {
    if (this.#wanted && !this.#closed) this.#queue(() => this.#settle()).catch(() => undefined);
  }

  /** Makes a place for a replica that is to start. Rejects where the disk does not take it. */
  make({ uid, tenant, instance }: ReplicaSpec): Promise<void> {
    return this.#queue(async () => {
      const { storeGeneration = 0 } = this.#wanted ?? {};
      await this.#name(uid, { tenant, instance, storeGeneration });
      await makePrivateDir(stateDirOf(this.#options.data, uid).data);
    });
  }

  /** Uids of which data is here. */
  uids(): string[] {
    return [...this.#kept.keys()];
  }

  /** Data that the present store has never named. */
  warnings(): string[] {
    return this.#orphans().map(([uid, { instance }]) => {
      const { data } = stateDirOf(this.#options.data, uid);
      return (
        `the cluster's store does not know instance ${instance} (${uid}), whose data is in ${data}: it is kept, ` +
        `since the store was restored or copied meanwhile. Remove it by hand when you do not need it`
      );
    });
  }

  isOrphan(uid: string): boolean {
    return this.#orphans().some(([orphan]) => orphan === uid);
  }

  #orphans(): [string, Named][] {
    const wanted = this.#wanted;
    if (!wanted) return [];
    return [...this.#kept].filter(
      ([uid, named]) => !wanted.specs.has(uid) && named.storeGeneration !== wanted.storeGeneration,
    );
  }

  async #settle(): Promise<void> {
    for (const [uid, named] of this.#kept) {
      const { specs, storeGeneration } = this.#wanted!;
      const spec = specs.get(uid);
      try {
        if (spec) await this.#name(uid, { tenant: spec.tenant, instance: spec.instance, storeGeneration });
        else if (named.storeGeneration === storeGeneration) await this.#maybeRemove(uid, named);
      } catch (e) {
        if (this.#closed) return;
        const trouble = `the data of instance ${uid} stays for now: ${DvsError.from(e).message}`;
        if (trouble !== this.#trouble) this.#options.log("warn", trouble);
        this.#trouble = trouble;
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.review(), this.#options.retryMs);
      }
    }
  }

  async #name(uid: string, named: Named): Promise<void> {
    const known = this.#kept.get(uid);
    if (known?.storeGeneration === named.storeGeneration) return;
    // An older Desired, from the disk, takes nothing back.
    const storeGeneration = Math.max(known?.storeGeneration ?? 0, named.storeGeneration);
    const next = { ...named, storeGeneration };
    await writeSmallFile(this.#pathOf(uid), JSON.stringify(next), { durable: true });
    this.#kept.set(uid, next);
    this.#options.onChange();
  }

  async #maybeRemove(uid: string, { tenant, instance }: Named): Promise<void> {
    const mayGo = () => !this.#options.busy(uid) && !this.#wanted!.specs.has(uid) && !this.#closed;
    if (mayGo() && (await this.#options.isGone({ tenant, instance, uid })) && mayGo())
      await this.#remove(uid);
  }

  /** By another name first: what is half removed is never taken for a replica. */
  async #remove(uid: string): Promise<void> {
    const { data, log } = this.#options;
    const away = join(data.state, `${removedPrefix}${uid}`);
    await rm(away, { recursive: true, force: true });
    await rename(stateDirOf(data, uid).data, away).catch((e: NodeJS.ErrnoException) => {
      if (e.code !== "ENOENT") throw e;
    });
    await rm(away, { recursive: true, force: true });
    await rm(this.#pathOf(uid), { force: true });
    const instance = this.#kept.get(uid)?.instance ?? uid;
    this.#kept.delete(uid);
    log("info", `the data of instance ${instance} was removed: it is not wanted here any more`);
    this.#options.onChange();
  }

  async #read(uid: string): Promise<Named> {
    const parsed = Named.safeParse(await readJsonFile(this.#pathOf(uid)));
    // Nobody knows who has named it: it is kept until somebody does.
    return parsed.success ? parsed.data : { tenant: "", instance: uid, storeGeneration: 0 };
  }

  #pathOf(uid: string): string {
    return join(this.#options.data.state, `${uid}.json`);
  }

  #queue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#work.then(work);
    this.#work = done.catch(() => undefined);
    return done;
  }
}

const removedPrefix = ".removed-";
