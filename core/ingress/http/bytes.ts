/** The byte classes of HTTP/1.1 (RFC 9110 section 5.6, RFC 9112), as tables: one load decides a byte. */

export const CR = 13;
export const LF = 10;
export const SP = 32;
export const HTAB = 9;
export const COLON = 58;
export const COMMA = 44;
export const QUOTE = 34;
export const BACKSLASH = 92;

function table(has: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (has(byte) ? 1 : 0));
}

const among = (text: string) => (byte: number) => text.includes(String.fromCharCode(byte));
const alnum = (byte: number) =>
  (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122);

/** tchar: methods, field names, codings. */
export const isToken = table((b) => alnum(b) || among("!#$%&'*+-.^_`|~")(b));
/** field-content with obs-text; no control byte but HTAB, so neither CR, LF nor NUL. */
export const isValue = table((b) => b === HTAB || (b >= 0x20 && b !== 0x7f));
/** Request targets: visible ASCII without `#`. Laxer than RFC 3986 by what browsers do send unescaped. */
export const isTarget = table((b) => b > 0x20 && b < 0x7f && b !== 35);
/** uri-host with port. No `@`, `/`, comma, quote or backslash: it is copied into Forwarded. */
export const isHost = table((b) => alnum(b) || among("-._~%!$&'()*+;=:[]")(b));
export const isDigit = table((b) => b >= 48 && b <= 57);

/** Value of a hex digit, 255 for any other byte. */
export const hexValue = Uint8Array.from({ length: 256 }, (_, byte) => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte).toLowerCase());
  return digit < 0 ? 255 : digit;
});

/** Whether bytes[start, end) spell `lower`, which is given in lower case, in either case. */
export function equalsIgnoringCase(
  bytes: Uint8Array,
  start: number,
  end: number,
  lower: Uint8Array,
): boolean {
  if (end - start !== lower.length) return false;
  for (let i = 0; i < lower.length; i++) {
    const b = bytes[start + i]!;
    const l = lower[i]!;
    if (b !== l && !(b >= 65 && b <= 90 && (b | 32) === l)) return false;
  }
  return true;
}

/**
 * Calls `each` with the range of every element of a comma-separated list that is not empty, without white space
 * around it. Stops early when `each` returns false.
 */
export function forEachElement(
  bytes: Uint8Array,
  start: number,
  end: number,
  each: (start: number, end: number) => boolean,
): boolean {
  let from = start;
  for (let at = start; at <= end; at++) {
    if (at < end && bytes[at] !== COMMA) continue;
    let a = from;
    let b = at;
    while (a < b && (bytes[a] === SP || bytes[a] === HTAB)) a++;
    while (b > a && (bytes[b - 1] === SP || bytes[b - 1] === HTAB)) b--;
    if (b > a && !each(a, b)) return false;
    from = at + 1;
  }
  return true;
}

export function ascii(text: string): Buffer {
  return Buffer.from(text, "latin1");
}
