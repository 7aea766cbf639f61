/** Tables for people: aligned columns, cut to the terminal's width; whole and uncoloured where there is none. */
import { type Io, painter } from "./io.ts";

export interface Column<T> {
  title: string;
  value(row: T): string | number;
  /** Numbers stand right. */
  right?: boolean;
  /** May be cut when the terminal is too narrow. The widest of these gives way first. */
  flexible?: boolean;
}

const gap = "  ";
const narrowest = 8;

export function writeTable<T>(io: Io, columns: Column<T>[], rows: readonly T[]): void {
  const paint = painter(io, io.stdout);
  const cells = rows.map((row) => columns.map((c) => clean(String(c.value(row)))));
  const widths = columns.map((c, i) => Math.max(c.title.length, ...cells.map((r) => r[i]!.length)));
  if (io.stdout.columns > 0) fit(widths, columns, io.stdout.columns);
  const line = (texts: string[]) =>
    texts
      .map((text, i) => {
        const cut = text.length > widths[i]! ? `${text.slice(0, widths[i]! - 1)}…` : text;
        if (columns[i]!.right) return cut.padStart(widths[i]!);
        return i === texts.length - 1 ? cut : cut.padEnd(widths[i]!);
      })
      .join(gap)
      .trimEnd();
  io.stdout.write(`${paint("bold", line(columns.map((c) => c.title)))}\n`);
  for (const row of cells) io.stdout.write(`${line(row)}\n`);
}

/** `name: value` lines, aligned. */
export function writeFields(io: Io, fields: readonly (readonly [string, string])[]): void {
  const paint = painter(io, io.stdout);
  const width = Math.max(...fields.map(([name]) => name.length)) + 1;
  for (const [name, value] of fields) {
    io.stdout.write(`${paint("bold", `${name}:`.padEnd(width))} ${clean(value)}\n`);
  }
}

/** Bytes of a peer never reach a terminal as control sequences. */
export function clean(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001F\u007F-\u009F]/g, " ");
}

function fit(widths: number[], columns: { flexible?: boolean }[], available: number): void {
  const total = () => widths.reduce((sum, w) => sum + w, 0) + gap.length * (widths.length - 1);
  while (total() > available) {
    let widest = -1;
    for (const [i, w] of widths.entries()) {
      if (columns[i]!.flexible && w > narrowest && (widest < 0 || w > widths[widest]!)) widest = i;
    }
    if (widest < 0) return;
    widths[widest] = Math.max(narrowest, widths[widest]! - (total() - available));
  }
}
