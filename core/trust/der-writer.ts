/** Writes DER: as much of it as a certificate request needs. The reader is der.ts. */

/** An element of this tag; `content` are its bytes, or the elements in it one after the other. */
export function element(tag: number, ...content: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  return new Uint8Array(Buffer.concat([Uint8Array.of(tag, ...lengthBytes(length)), ...content]));
}

export function utf8String(text: string): Uint8Array<ArrayBuffer> {
  return element(0x0c, new TextEncoder().encode(text));
}

/** Up to 127 in one byte; else how many bytes follow, and those: the shortest form. */
function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}
