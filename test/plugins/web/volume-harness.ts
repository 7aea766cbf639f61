/** Containers of a web instance on one volume: what one writes, the others serve. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VolumeClient } from "../../../core/files/client/volume-client.ts";
import { type LoneVolume, openLone } from "../../../core/files/lone.ts";
import { BlobReader } from "../../../core/image/blob-reader.ts";
import { openImage } from "../../../core/image/reader.ts";
import type { FileSystem } from "../../../core/files/file-system.ts";
import type { ImageReader, Vos, VosHost } from "../../../core/vos.ts";
import { WebOptions } from "../../../plugins/web/options.ts";
import plugin from "../../../plugins/web/plugin.ts";
import { type Tree, writeImage } from "../../core/container/test-image.ts";

export interface Answer {
  status: number;
  headers: Headers;
  body: string;
  etag: string;
}
export type Ask = (path: string, init?: RequestInit) => Promise<Answer>;

export class WebVolume {
  readonly volume: LoneVolume;
  readonly image: ImageReader;
  readonly #booted: Vos[] = [];
  #nodes = 0;

  private constructor(volume: LoneVolume, image: ImageReader) {
    this.volume = volume;
    this.image = image;
  }

  static async open(tree: Tree): Promise<WebVolume> {
    const blobDir = mkdtempSync(join(tmpdir(), "dvs-"));
    const digest = await writeImage(blobDir, tree);
    const blobs = new BlobReader(blobDir);
    const volume = openLone({ readBlob: (...of) => blobs.read(...of) });
    const onBadBlob = (bad: string) => Promise.reject(new Error(`bad blob ${bad}`));
    return new WebVolume(volume, await openImage({ blobDir, digest, onBadBlob }));
  }

  /** Another container, on a node of its own. `through` may watch and hinder what it does with its files. */
  async container(
    options: Record<string, unknown> = {},
    through: (files: VolumeClient) => FileSystem = (files) => files,
  ): Promise<{ ask: Ask; vos: Vos; files: VolumeClient; logged: string[]; access: string[] }> {
    const name = `node-${++this.#nodes}`;
    const files = this.volume.client(name);
    const logged: string[] = [];
    const access: string[] = [];
    const host: VosHost = {
      tenant: "default",
      instance: "test",
      uid: "u1",
      node: { id: name, name },
      incarnation: name,
      kernel: null,
      state: {
        get kv(): never {
          throw new Error("nobody asks for keys");
        },
        files: through(files),
        seedFiles: (image) => files.seed(image),
      },
      image: this.image,
      log: (_level, message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`),
      accessLog: (line) => access.push(line),
    };
    const vos = await plugin.boot(host, WebOptions.parse({ files: "volume", ...options }));
    this.#booted.push(vos);
    return { ask: asker(vos), vos, files, logged, access };
  }

  /** As whoever runs the instance sets it. */
  setQuota(bytesMax: number, inodesMax: number): void {
    this.volume.operate([18, bytesMax, inodesMax]);
  }

  async close(): Promise<void> {
    for (const vos of this.#booted) await vos.close?.();
    await this.volume.close();
  }
}

export function asker(vos: Vos): Ask {
  return async (path, init = {}) => {
    const headers = new Headers(init.headers);
    // As a server has it.
    if (typeof init.body === "string") headers.set("content-length", String(Buffer.byteLength(init.body)));
    const response = await vos.fetch(new Request(`http://site.test${path}`, { ...init, headers }), {
      peer: "127.0.0.1",
    });
    const etag = response.headers.get("etag") ?? "";
    return { status: response.status, headers: response.headers, body: await response.text(), etag };
  };
}
