/** Requests as the kernel would send them, to a server over a volume of this process. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openLone } from "../../../core/files/lone.ts";
import { inHeaderBytes, type OpcodeName, opcodes, outHeaderBytes } from "../../../core/fuse/abi.ts";
import type { CachePolicy } from "../../../core/fuse/cache-policy.ts";
import { FuseServer } from "../../../core/fuse/server.ts";

export interface Answered {
  /** Positive, 0: none. */
  errno: number;
  body: DataView;
  bytes: Uint8Array;
}

/** Of Linux 6.18, of a program that does a little of everything: [request, answer], hexadecimal; "" where there is none. */
export const recorded: [request: string, answer: string][] = (
  JSON.parse(readFileSync(join(import.meta.dir, "recorded.json"), "utf8")) as [string, string][]
).map(([request, answer]) => [request, answer]);

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

export class FuseLab {
  readonly lone = openLone({ now: () => 1_700_000_000_000 });
  readonly logged: string[] = [];
  readonly notified: Uint8Array[] = [];
  readonly server: FuseServer;
  readonly #answers = new Map<number, Answered>();
  readonly #waiting = new Map<number, (answer: Answered) => void>();
  #unique = 1_000_000;

  constructor(cache: CachePolicy = "none") {
    this.server = new FuseServer({
      fs: this.lone.client("mount"),
      cache,
      device: {
        send: (bytes) => this.#answered(bytes),
        sendData: (header, data) => this.#answered(new Uint8Array(Buffer.concat([header, data]))),
        notify: async (bytes) => void this.notified.push(bytes),
      },
      log: (message) => void this.logged.push(message),
    });
  }

  /** As it is; resolves when the server needs the bytes no more. */
  raw(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.server.onRequest(bytes, resolve));
  }

  /** With a header; the answer. */
  ask(opcode: OpcodeName | number, nodeid: number, body: Uint8Array, who: Who = {}): Promise<Answered> {
    const unique = this.send(opcode, nodeid, body, who);
    return this.answer(unique);
  }

  /** Without waiting: its `unique`. */
  send(opcode: OpcodeName | number, nodeid: number, body: Uint8Array, who: Who = {}): number {
    const unique = (this.#unique += 2);
    const bytes = new Uint8Array(inHeaderBytes + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, bytes.length, true);
    view.setUint32(4, typeof opcode === "number" ? opcode : opcodes[opcode], true);
    view.setUint32(8, unique, true);
    view.setUint32(16, nodeid, true);
    view.setUint32(24, who.uid ?? 0, true);
    view.setUint32(28, who.gid ?? 0, true);
    bytes.set(body, inHeaderBytes);
    this.server.onRequest(bytes, () => {});
    return unique;
  }

  answer(unique: number): Promise<Answered> {
    const there = this.#answers.get(unique);
    if (there) return Promise.resolve(there);
    return new Promise((resolve) => this.#waiting.set(unique, resolve));
  }

  answerNow(unique: number): Answered | undefined {
    return this.#answers.get(unique);
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.lone.close();
  }

  #answered(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (view.getUint32(0, true) !== bytes.length) throw new Error("an answer of another length than it says");
    const unique = view.getUint32(8, true);
    if (this.#answers.has(unique)) throw new Error(`two answers to ${unique}`);
    const body = new DataView(bytes.buffer, bytes.byteOffset + outHeaderBytes, bytes.length - outHeaderBytes);
    const answer = { errno: Math.abs(view.getInt32(4, true)), body, bytes };
    this.#answers.set(unique, answer);
    this.#waiting.get(unique)?.(answer);
  }
}

export interface Who {
  uid?: number;
  gid?: number;
}

/** Numbers of 32 bits; texts end with a zero byte. */
export function body(...fields: (number | string)[]): Uint8Array {
  const parts = fields.map((field) => {
    if (typeof field === "string") return Buffer.from(`${field}\0`);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(field >>> 0);
    return bytes;
  });
  return new Uint8Array(Buffer.concat(parts));
}
