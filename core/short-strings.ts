/**
 * Short strings that come again and again in bytes – names of clients, modules, fields: found by their bytes and made
 * once. Making one costs three times as much, leaves garbage, and each look into a map hashes it anew.
 */

const shortBytesMax = 32;
const slots = 1_024;
const known = Array<string>(slots).fill("");
const decoder = new TextDecoder();

/** Of ASCII bytes; null where one is not. */
export function asciiString(bytes: Uint8Array, from: number, length: number): string | null {
  let hash = length;
  for (let i = from; i < from + length; i++) {
    const byte = bytes[i]!;
    if (byte > 127) return null;
    hash = Math.imul(hash ^ byte, 0x01000193);
  }
  if (length > shortBytesMax) return decoder.decode(bytes.subarray(from, from + length));
  const slot = (hash ^ (hash >>> 15)) & (slots - 1);
  const there = known[slot]!;
  if (isSame(there, bytes, from, length)) return there;
  return (known[slot] = decoder.decode(bytes.subarray(from, from + length)));
}

function isSame(there: string, bytes: Uint8Array, from: number, length: number): boolean {
  if (there.length !== length) return false;
  for (let i = 0; i < length; i++) if (there.charCodeAt(i) !== bytes[from + i]) return false;
  return true;
}
