/** Byte ranges (RFC 9110 section 14): which bytes a Range header asks for. */

/** Bytes [start, end). */
export interface ByteRange {
  start: number;
  end: number;
}

/** More parts than any player or reader asks for; beyond, the whole file costs less than its pieces. */
const rangesMax = 16;

/** Null: the header is not understood, or abusive, and the whole file is sent. Empty: no range fits the file. */
export function parseRanges(header: string, size: number): ByteRange[] | null {
  const match = /^bytes=(.+)$/i.exec(header.trim());
  if (!match?.[1]) return null;
  const specs = match[1].split(",").map((spec) => spec.trim());
  if (specs.length > rangesMax) return null;
  const ranges: ByteRange[] = [];
  let total = 0;
  for (const spec of specs) {
    if (spec === "") continue;
    const range = parseSpec(spec, size);
    if (range === null) return null;
    if (range === undefined) continue;
    ranges.push(range);
    total += range.end - range.start;
  }
  // Overlapping ranges that add up to more than the file are an attack, or a mistake.
  return ranges.length > 1 && total > size ? null : ranges;
}

/** Null: no range at all. Undefined: one that lies outside the file. */
function parseSpec(spec: string, size: number): ByteRange | null | undefined {
  const match = /^(\d{0,15})-(\d{0,15})$/.exec(spec);
  if (!match || (match[1] === "" && match[2] === "")) return null;
  if (match[1] === "") {
    const suffix = Number(match[2]);
    return suffix === 0 || size === 0 ? undefined : { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(match[1]);
  const last = match[2] === "" ? size - 1 : Number(match[2]);
  if (last < start && match[2] !== "") return null;
  return start >= size ? undefined : { start, end: Math.min(last + 1, size) };
}
