/** SHA-256 digests as dvs writes them: `sha256:` and 64 hex digits. */
import { createHash } from "node:crypto";
import { setImmediate as queueTurn } from "node:timers";

/** Bytes hashed in one go: half a millisecond, so that a loop that hashes still answers. */
export const hashPieceBytes = 256 * 1024;

const prefix = "sha256:";

export function digestOf(bytes: Uint8Array): string {
  return prefix + createHash("sha256").update(bytes).digest("hex");
}

/** The digest of many bytes, giving way to the event loop between pieces. */
export async function digestOfLarge(bytes: Uint8Array): Promise<string> {
  if (bytes.length <= hashPieceBytes) return digestOf(bytes);
  const hash = createHash("sha256");
  for (let at = 0; at < bytes.length; at += hashPieceBytes) {
    hash.update(bytes.subarray(at, at + hashPieceBytes));
    await nextTurn();
  }
  return prefix + hash.digest("hex");
}

/** A digest that grows with each piece. */
export class Hasher {
  readonly #hash = createHash("sha256");

  update(piece: Uint8Array): void {
    this.#hash.update(piece);
  }
  /** Ends it. */
  digest(): string {
    return prefix + this.#hash.digest("hex");
  }
}

/** The 64 hex digits. Asserts that the digest was checked where it entered: it becomes a file's name. */
export function hexOf(digest: string): string {
  if (!isDigest(digest)) throw new TypeError(`not a digest: ${JSON.stringify(digest)}`);
  return digest.slice(prefix.length);
}

export function digestFromHex(hex: string): string {
  return prefix + hex;
}

export function isDigest(text: string): boolean {
  return text.length === 71 && /^sha256:[0-9a-f]{64}$/.test(text);
}

/** Resolves after the event loop has looked at its sockets once. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    queueTurn(resolve);
  });
}
