/** Names of segments in the directory of a block store. */

const form = /^segment-(\d{10})$/;
/** Of 64 MiB each these are 600 PiB. */
export const segmentMax = 9_999_999_999;

export function segmentName(segment: number): string {
  return `segment-${String(segment).padStart(10, "0")}`;
}

/** Null: it is a file of something else. */
export function segmentOf(name: string): number | null {
  const digits = form.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export function isSegment(segment: number): boolean {
  return Number.isSafeInteger(segment) && segment >= 1 && segment <= segmentMax;
}
