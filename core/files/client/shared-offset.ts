/** An offset of a file that processes on several nodes share; see FileSystem.sharedOffset. */
import type { SharedOffset } from "../file-system.ts";
import { numberIn } from "./results.ts";
import type { Volume } from "./volume.ts";

export class VolumeOffset implements SharedOffset {
  readonly id: string;
  readonly #volume: Volume;
  #left = false;

  /** `volume.useOffset` has counted it. */
  constructor(volume: Volume, id: string) {
    this.id = id;
    this.#volume = volume;
  }

  async take(length: number, beyondEnd: boolean): Promise<{ offset: number; length: number }> {
    const what = () => `move on the shared offset ${this.id}`;
    const [offset, taken] = await this.#volume.operate([14, this.id, length, beyondEnd ? 1 : 0], what);
    return { offset: numberIn(offset, what), length: numberIn(taken, what) };
  }

  async seek(offset: number): Promise<void> {
    await this.#volume.operate([15, this.id, offset], () => `set the shared offset ${this.id}`);
  }

  async get(): Promise<number> {
    const what = () => `read the shared offset ${this.id}`;
    const [offset] = await this.#volume.query(["offset", this.id], what);
    return numberIn(offset, what);
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    if (!this.#volume.leaveOffset(this.id)) return;
    await this.#volume.operate([16, this.id], () => `leave the shared offset ${this.id}`);
  }
}
