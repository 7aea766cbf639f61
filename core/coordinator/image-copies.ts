/**
 * Every coordinator keeps every image, so that one whose machine is lost takes none with it. A push is acknowledged
 * when a second coordinator has it (`secure`); the others, and whoever was away, fetch what they lack from whichever
 * has it (`round`). An image whose record is gone is removed by each for itself (image-care.ts).
 */
import { DvsError } from "../errors.ts";
import type { BlobStore } from "../image/blob-store.ts";
import { parseManifest } from "../image/manifest.ts";
import { pullImage } from "../image/pull.ts";
import { manifestBytesMax, secondCopyTimeoutMs } from "../limits.ts";
import { defaultTenant } from "../names.ts";
import { ImageRecord, keys } from "../records.ts";
import type { Store } from "../store/store.ts";
import type { Log } from "./log.ts";
import type { Member } from "./members.ts";
import { pause } from "./pause.ts";
import type { Peers } from "./peers.ts";

const roundMs = 2_000;

export interface ImageCopiesOptions {
  store: Store;
  blobs: BlobStore;
  peers: Pick<Peers, "members" | "refresh" | "to">;
  log: Log;
  roundMs?: number;
}

export class ImageCopies {
  readonly #options: ImageCopiesOptions;
  /** Seen whole on this disk: looking again costs a look at each blob. */
  readonly #whole = new Set<string>();
  #lacking = 0;
  #trouble = "";

  constructor(options: ImageCopiesOptions) {
    this.#options = options;
  }

  /** Images of the cluster that were not whole here at the last look. */
  get lacking(): number {
    return this.#lacking;
  }

  /** The disk has lost something: look at all of them again. */
  doubt(): void {
    this.#whole.clear();
  }

  /** Resolves when the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#options.peers.members.length > 0) await this.round(signal);
        this.#tell("");
      } catch (e) {
        if (!signal.aborted) this.#tell(e instanceof Error ? e.message : String(e));
      }
      await pause(this.#options.roundMs ?? roundMs, signal);
    }
  }

  /** Fetches what the store names and this disk has not. Throws what the last fetch failed with, after all were tried. */
  async round(signal: AbortSignal): Promise<void> {
    const { kvs } = await this.#options.store.range(keys.images(defaultTenant));
    const digests = new Set(kvs.map((kv) => ImageRecord.parse(JSON.parse(kv.value)).digest));
    for (const digest of this.#whole) if (!digests.has(digest)) this.#whole.delete(digest);
    let lacking = 0;
    let failure: unknown;
    for (const digest of digests) {
      if (await this.#isWhole(digest)) continue;
      try {
        await this.#fetchFromAny(digest, signal);
      } catch (e) {
        lacking += 1;
        failure = e;
      }
    }
    this.#lacking = lacking;
    if (failure !== undefined) throw failure;
  }

  /** Brings an image here from the coordinator that asks for it. */
  async take(from: Member, digest: string, signal: AbortSignal): Promise<void> {
    if (await this.#isWhole(digest)) return;
    await pullImage(digest, this.#options.peers.to(from).images, this.#options.blobs, { signal });
    this.#whole.add(digest);
  }

  /**
   * Resolves when another coordinator has the image, or when none can take it: true in the first case, and where
   * there is no other.
   */
  async secure(digest: string, signal: AbortSignal, timeoutMs = secondCopyTimeoutMs): Promise<boolean> {
    const { peers, log } = this.#options;
    this.#whole.add(digest);
    // One that has just come is one that can take it.
    await peers.refresh();
    if (peers.members.length === 0) return true;
    const over = new AbortController();
    const timer = setTimeout(
      () => over.abort(new DvsError("TIMEOUT", `it took longer than ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    try {
      const limit = AbortSignal.any([signal, over.signal]);
      await Promise.any(peers.members.map((member) => peers.to(member).takeImage(digest, limit)));
      return true;
    } catch (e) {
      if (signal.aborted) throw e;
      const [first] = e instanceof AggregateError ? e.errors : [e];
      log(
        "warn",
        `image ${digest} is on this coordinator alone for now, none of the others took it: ${first instanceof Error ? first.message : String(first)}`,
      );
      return false;
    } finally {
      // The others go on fetching it.
      clearTimeout(timer);
    }
  }

  async #fetchFromAny(digest: string, signal: AbortSignal): Promise<void> {
    const { peers, blobs, log } = this.#options;
    let failure: unknown = new DvsError("UNAVAILABLE", `No other coordinator could give image ${digest}.`);
    for (const member of peers.members) {
      try {
        await pullImage(digest, peers.to(member).images, blobs, { signal });
        this.#whole.add(digest);
        log("info", `fetched image ${digest} from coordinator ${member.id}`);
        return;
      } catch (e) {
        if (signal.aborted) throw e;
        failure = e;
      }
    }
    throw failure;
  }

  async #isWhole(digest: string): Promise<boolean> {
    const { blobs } = this.#options;
    // Its manifest is what a removal takes first and a fetch brings last.
    if (!blobs.has(digest)) return false;
    if (this.#whole.has(digest)) return true;
    try {
      const manifest = await parseManifest(await blobs.read(digest, manifestBytesMax));
      if ((await blobs.missing(manifest.blobs.keys())).length > 0) return false;
    } catch {
      return false;
    }
    this.#whole.add(digest);
    return true;
  }

  #tell(trouble: string): void {
    if (trouble !== "" && trouble !== this.#trouble)
      this.#options.log("warn", `images lack here and cannot be fetched: ${trouble}`);
    this.#trouble = trouble;
  }
}
