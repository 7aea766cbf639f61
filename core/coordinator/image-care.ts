/**
 * Keeps the coordinator's images whole and its disk free: images without a name that nothing uses go, then the blobs
 * that no image needs; blobs that the disk has lost are found and told, since only their owner can push them again.
 *
 * An image that is about to be used is not taken away: its blobs were asked for within the grace when it was pushed,
 * and a creation writes the image's record, so that a removal decided on the older one is refused.
 */
import type { BlobStore } from "../image/blob-store.ts";
import { sweepImages } from "../image/garbage.ts";
import { parseManifest } from "../image/manifest.ts";
import { scrub } from "../image/scrub.ts";
import { blobGraceMs, manifestBytesMax } from "../limits.ts";
import { defaultTenant } from "../names.ts";
import { uptimeMs } from "../platform/uptime.ts";
import { ImageRecord, InstanceRecord, keys } from "../records.ts";
import type { KeyValue, Store } from "../store/store.ts";
import type { Log } from "./log.ts";

export interface ImageCareOptions {
  store: Store;
  blobs: BlobStore;
  log: Log;
  /** A blob was lost: another coordinator may have it. */
  onLost?: () => void;
  graceMs?: number;
  /** Infinity: as fast as the disk. */
  bytesPerSecond?: number;
}

export class ImageCare {
  readonly #options: ImageCareOptions;
  readonly #graceMs: number;
  /** Images without name and use: since when, at which revision of the record. */
  #unused = new Map<string, { modRevision: number; sinceMs: number }>();
  #warnings: string[] = [];

  constructor(options: ImageCareOptions) {
    this.#options = options;
    this.#graceMs = options.graceMs ?? blobGraceMs;
  }

  /** Images that lack something here, for `dvs status`. */
  warnings(): string[] {
    return this.#warnings;
  }

  /** `records: false`: on a coordinator that does not act, the blobs alone. */
  async sweep(signal?: AbortSignal, { records = true }: { records?: boolean } = {}): Promise<void> {
    const { blobs, log } = this.#options;
    if (records) await this.#removeUnused();
    await this.check();
    const images = (await this.#images()).map(({ record }) => record.digest);
    const swept = await sweepImages(blobs, images, this.#graceMs, signal ? { signal } : {});
    if (swept.blobs > 0)
      log("info", `removed ${swept.blobs} blobs that no image needs (${swept.bytes} bytes)`);
  }

  /** Reads every blob, paced; then looks whether every image is complete. */
  async scrub(signal?: AbortSignal): Promise<void> {
    const { blobs, log, bytesPerSecond } = this.#options;
    const pace = bytesPerSecond === undefined ? {} : { bytesPerSecond };
    for await (const { digest, state } of scrub(blobs, { ...pace, ...(signal ? { signal } : {}) })) {
      if (state !== "corrupt") continue;
      log("error", `blob ${digest} was corrupted on the disk and removed`);
      this.#options.onLost?.();
    }
    await this.check();
  }

  /** Which images are not complete on this coordinator's disk. */
  async check(): Promise<void> {
    const warnings: string[] = [];
    for (const { record } of await this.#images()) {
      const lacking = await this.#lacking(record.digest);
      if (lacking === "") continue;
      const name = record.names[0] ?? record.digest;
      warnings.push(`image ${name} lacks ${lacking} on this coordinator: build it again from the same files`);
    }
    for (const warning of warnings) if (!this.#warnings.includes(warning)) this.#options.log("warn", warning);
    this.#warnings = warnings;
  }

  /** "" when all of it is here. */
  async #lacking(image: string): Promise<string> {
    const { blobs } = this.#options;
    let manifest;
    try {
      manifest = await parseManifest(await blobs.read(image, manifestBytesMax));
    } catch {
      return "its manifest";
    }
    const { length } = await blobs.missing(manifest.blobs.keys());
    return length === 0 ? "" : `${length} of ${manifest.blobs.size} blobs`;
  }

  async #removeUnused(): Promise<void> {
    const { store, log } = this.#options;
    const images = await this.#images();
    // Read after the images: whoever uses one of them since has written its record anew.
    const { kvs } = await store.range(keys.instances(defaultTenant));
    const used = new Set(kvs.map((kv) => InstanceRecord.parse(JSON.parse(kv.value)).spec.image));
    const before = this.#unused;
    this.#unused = new Map();
    const nowMs = uptimeMs();
    for (const { kv, record } of images) {
      if (record.names.length > 0 || used.has(record.digest)) continue;
      const known = before.get(kv.key);
      const since =
        known?.modRevision === kv.modRevision ? known : { modRevision: kv.modRevision, sinceMs: nowMs };
      this.#unused.set(kv.key, since);
      if (nowMs - since.sinceMs < this.#graceMs) continue;
      const { succeeded } = await store.txn({
        if: [{ key: kv.key, target: "mod", op: "=", value: kv.modRevision }],
        then: [{ type: "delete", key: kv.key }],
      });
      if (succeeded) log("info", `removed image ${record.digest}: it has no name and nothing uses it`);
    }
  }

  async #images(): Promise<{ kv: KeyValue; record: ImageRecord }[]> {
    const { kvs } = await this.#options.store.range(keys.images(defaultTenant));
    return kvs.map((kv) => ({ kv, record: ImageRecord.parse(JSON.parse(kv.value)) }));
  }
}
