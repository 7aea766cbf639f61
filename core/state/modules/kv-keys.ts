/** Keys of the key-value as SQLite holds them: UTF-8, so that their order is that of bytes on every runtime. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function keyBytes(key: string): Uint8Array {
  return encoder.encode(key);
}

export function keyText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** The least key behind all with this prefix; null: there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | null {
  const last = prefix.findLastIndex((byte) => byte < 0xff);
  if (last < 0) return null;
  const end = prefix.slice(0, last + 1);
  end[last]!++;
  return end;
}

export function hasPrefix(key: Uint8Array, prefix: Uint8Array): boolean {
  return key.length >= prefix.length && prefix.every((byte, i) => key[i] === byte);
}
