/** One file of the log: what is known of it in memory. Its name says the index that it begins with. */
import type { Mark } from "./frame.ts";

/** From here on a reader finds its way: a mark. */
export interface Waypoint {
  nextIndex: number;
  position: number;
}

export interface Segment {
  name: string;
  firstIndex: number;
  /** After its last record; equal to `firstIndex` while it has none. */
  nextIndex: number;
  /** Bytes of its chain. The file may be longer: zeros, written ahead. */
  end: number;
  /** Ascending; the first is at position 0, also when that mark is damaged. */
  waypoints: Waypoint[];
}

/** One waypoint for so many bytes: what a reader skips at most. */
const waypointBytes = 64 * 1024;
const prefix = "log-";
const digits = 16;

export function segmentName(firstIndex: number): string {
  return prefix + String(firstIndex).padStart(digits, "0");
}

/** Null when it is not the name of a segment. */
export function firstIndexOf(name: string): number | null {
  const text = name.slice(prefix.length);
  if (!name.startsWith(prefix) || !/^\d{16}$/.test(text)) return null;
  const index = Number(text);
  return index >= 1 && Number.isSafeInteger(index) ? index : null;
}

/** Notes a mark, if the last one noted is far enough behind. */
export function noteMark(segment: Segment, mark: Pick<Mark, "nextIndex" | "position">): void {
  const last = segment.waypoints.at(-1);
  if (last && mark.position - last.position < waypointBytes) return;
  segment.waypoints.push({ nextIndex: mark.nextIndex, position: mark.position });
}

/** The last one at or before the record. */
export function waypointOf(segment: Segment, index: number): Waypoint {
  const { waypoints } = segment;
  let low = 0;
  let high = waypoints.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (waypoints[middle]!.nextIndex <= index) low = middle;
    else high = middle - 1;
  }
  return waypoints[low]!;
}
