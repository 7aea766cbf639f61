/**
 * Frames on their way to an instance, as many as make one request, a few requests at a time. What could not be carried
 * out is told to whoever has sent the frame; a request that is lost is sent again.
 */
import type { Api } from "../../core/api/client.ts";
import { DvsError } from "../../core/errors.ts";
import type { PutFrame } from "../../core/files/remote/ask.ts";
import { encodeFrame } from "../../core/files/remote/frames.ts";
import { putBytesMax, putFramesMax } from "../../core/limits.ts";
import { attempted } from "./attempts.ts";

/** Requests under way: what is written of a large file at the same time, at most. */
export const packsAheadMax = 4;

type Told = (error: DvsError | null) => void;

export class Packer {
  readonly #api: Pick<Api, "files">;
  readonly #instance: string;
  readonly #signal: AbortSignal;
  #frames: Uint8Array[] = [];
  #told: Told[] = [];
  #bytes = 0;
  #hasDirectory = false;
  readonly #under = new Set<Promise<void>>();
  #error: unknown = null;

  constructor(api: Pick<Api, "files">, instance: string, signal: AbortSignal) {
    this.#api = api;
    this.#instance = instance;
    this.#signal = signal;
  }

  /** Resolves when there is room for more. `told` is called once. Rejects when a request was lost for good. */
  async add(frame: PutFrame, bytes: Uint8Array | undefined, told: Told): Promise<void> {
    const encoded = encodeFrame(frame, bytes);
    if (this.#bytes + encoded.length > putBytesMax || this.#frames.length === putFramesMax)
      await this.#send();
    this.#frames.push(encoded);
    this.#told.push(told);
    this.#bytes += encoded.length;
    this.#hasDirectory ||= frame.op === "directory";
  }

  /** Resolves when all that was added is done. */
  async flush(): Promise<void> {
    await this.#send();
    await Promise.all(this.#under);
    if (this.#error) throw this.#error;
  }

  async #send(): Promise<void> {
    if (this.#error) throw this.#error;
    if (this.#frames.length === 0) return;
    const [frames, told] = [Buffer.concat(this.#frames), this.#told];
    // What is in a directory comes after it.
    const isAlone = this.#hasDirectory;
    this.#frames = [];
    this.#told = [];
    this.#bytes = 0;
    this.#hasDirectory = false;
    while (this.#under.size >= packsAheadMax) await Promise.race(this.#under);
    const under: Promise<void> = this.#put(frames, told)
      .catch((e: unknown) => {
        this.#error ??= e;
      })
      .finally(() => this.#under.delete(under));
    this.#under.add(under);
    if (isAlone) await under;
    if (this.#error) throw this.#error;
  }

  async #put(frames: Uint8Array, told: readonly Told[]): Promise<void> {
    const put = () => this.#api.files.put(this.#instance, frames, this.#signal);
    const lines = await attempted(put, this.#signal);
    const failures = new Map<number, DvsError>();
    for (const line of lines) {
      if ("frame" in line) failures.set(line.frame, new DvsError(line.failure.code, line.failure.message));
    }
    for (const [i, tell] of told.entries()) tell(failures.get(i) ?? null);
  }
}
