/**
 * Bytes of segments that replicas ask each other for, over their own link: for a learner that lacks them (receive-
 * segments.ts), and in place of bytes that a disk has damaged (block-repairs.ts).
 *
 *     sums   id, segment, position, bytes   →  summed   id, CRC-32 of each piece (4 bytes each) or null
 *     fetch  id, segment, position, bytes   →  fetched  id, the bytes or null, their CRC-32
 *
 * Null: that replica does not have them all. A question belongs to the link that it was asked on.
 */
import { crc32 } from "../checksum.ts";
import type { BlockStore } from "../blocks/block-store.ts";
import { isSegment } from "../blocks/segment-name.ts";
import { DvsError } from "../errors.ts";
import { Malformed } from "../kernel/proxy/malformed.ts";
import type { DiskId } from "../replica/configuration.ts";
import { blockAnswerMs, blockAsksMax, blockPieceBytes, summedBytesMax } from "./limits.ts";
import type { Fields } from "./link/frames.ts";

const numbers = { sums: 54, summed: 55, fetch: 56, fetched: 57 } as const;

export function isBlockExchange(fields: Fields): boolean {
  const number = Number(fields[0]);
  return number >= numbers.sums && number <= numbers.fetched;
}

export interface BlockExchangeOptions {
  store: Pick<BlockStore, "read">;
  /** Dropped where there is no link. */
  send: (disk: DiskId, fields: Fields) => void;
  /** Once, so much later, unless the returned function is called. Missing: by a timer of this host process. */
  after?: (ms: number, run: () => void) => () => void;
}

interface Asked {
  disk: DiskId;
  resolve: (bytes: Uint8Array | null) => void;
  reject: (error: DvsError) => void;
  forgetTimer: () => void;
}

export class BlockExchange {
  readonly #options: BlockExchangeOptions;
  readonly #asked = new Map<number, Asked>();
  /** Questions of each replica that are being answered. */
  readonly #answering = new Map<DiskId, number>();
  #ids = 0;

  constructor(options: BlockExchangeOptions) {
    this.#options = options;
  }

  /** CRC-32 of each `blockPieceBytes`, the last one of what is left; at most summedBytesMax. Rejects with UNAVAILABLE. */
  async sums(disk: DiskId, segment: number, position: number, length: number): Promise<Uint32Array | null> {
    const bytes = await this.#ask(disk, numbers.sums, segment, position, length);
    if (!bytes || bytes.length !== 4 * Math.ceil(length / blockPieceBytes)) return null;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return Uint32Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i, true));
  }

  /** At most blockPieceBytes. Rejects with UNAVAILABLE; null: it does not have them. */
  async fetch(disk: DiskId, segment: number, position: number, length: number): Promise<Uint8Array | null> {
    const bytes = await this.#ask(disk, numbers.fetch, segment, position, length);
    return bytes?.length === length ? bytes : null;
  }

  /** What was asked over the link before has no answer. */
  linkChanged(disk: DiskId): void {
    for (const [id, asked] of this.#asked) if (asked.disk === disk) this.#fail(id, asked, "the link broke");
  }

  close(): void {
    for (const [id, asked] of this.#asked) this.#fail(id, asked, "the replica ends");
  }

  /** Throws Malformed. */
  received(from: DiskId, fields: Fields): void {
    const [number, id, ...rest] = fields;
    if (typeof id !== "number") throw new Malformed("a question's id");
    if (number === numbers.sums || number === numbers.fetch) return this.#answer(from, number, id, rest);
    const asked = this.#asked.get(id);
    if (asked?.disk !== from) return;
    const [bytes, sum] = rest;
    if (bytes !== null && !(bytes instanceof Uint8Array)) throw new Malformed("bytes of a segment");
    if (bytes && number === numbers.fetched && crc32(bytes) !== sum)
      return this.#fail(id, asked, "they came with another checksum");
    asked.forgetTimer();
    this.#asked.delete(id);
    // A copy: frames are views of what the link has read.
    asked.resolve(bytes && bytes.slice());
  }

  #ask(
    disk: DiskId,
    number: 54 | 56,
    segment: number,
    position: number,
    length: number,
  ): Promise<Uint8Array | null> {
    return new Promise((resolve, reject) => {
      const id = ++this.#ids;
      const { after = timeout } = this.#options;
      const forgetTimer = after(blockAnswerMs, () => this.#fail(id, asked, "no answer came"));
      const asked: Asked = { disk, resolve, reject, forgetTimer };
      this.#asked.set(id, asked);
      this.#options.send(disk, [number, id, segment, position, length]);
    });
  }

  #fail(id: number, { forgetTimer, reject, disk }: Asked, why: string): void {
    forgetTimer();
    this.#asked.delete(id);
    reject(new DvsError("UNAVAILABLE", `Cannot get bytes of a segment from replica ${disk}: ${why}.`));
  }

  #answer(from: DiskId, number: 54 | 56, id: number, fields: readonly unknown[]): void {
    const [segment, position, length] = fields as number[];
    const max = number === numbers.sums ? summedBytesMax : blockPieceBytes;
    const isRange =
      Number.isSafeInteger(position) && position! >= 0 && Number.isInteger(length) && length! > 0;
    if (!isSegment(segment!) || !isRange || length! > max) throw new Malformed("a range of a segment");
    const busy = this.#answering.get(from) ?? 0;
    // It does not ask for so many at a time: whoever does waits in vain.
    if (busy >= blockAsksMax) return;
    this.#answering.set(from, busy + 1);
    const answered =
      number === numbers.sums
        ? this.#sums(segment!, position!, length!).then((sums) => [numbers.summed, id, sums])
        : this.#options.store
            .read(segment!, position!, length!)
            .then((bytes) => [numbers.fetched, id, bytes, crc32(bytes)]);
    void answered
      .catch(() => [number + 1, id, null, 0])
      .then((answer) => {
        this.#answering.set(from, this.#answering.get(from)! - 1);
        this.#options.send(from, answer);
      });
  }

  async #sums(segment: number, position: number, length: number): Promise<Uint8Array> {
    const sums = new DataView(new ArrayBuffer(4 * Math.ceil(length / blockPieceBytes)));
    for (let at = 0; at < length; at += blockPieceBytes) {
      const bytes = await this.#options.store.read(
        segment,
        position + at,
        Math.min(blockPieceBytes, length - at),
      );
      sums.setUint32((at / blockPieceBytes) * 4, crc32(bytes), true);
    }
    return new Uint8Array(sums.buffer);
  }
}

function timeout(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  return () => clearTimeout(timer);
}
