/** Data on stdout: a table for people, or exactly what the API answered for programs. */
import type { Io } from "./io.ts";
import { type Column, writeTable } from "./table.ts";

export type Output = "table" | "json" | "ndjson";

export function writeJson(io: Io, value: unknown): void {
  io.stdout.write(`${JSON.stringify(value, null, io.stdout.isTTY ? 2 : 0)}\n`);
}

/** One object of a stream. */
export function writeJsonLine(io: Io, value: unknown): void {
  io.stdout.write(`${JSON.stringify(value)}\n`);
}

export function writeList<T>(io: Io, output: Output, columns: Column<T>[], rows: readonly T[]): void {
  if (output === "table") writeTable(io, columns, rows);
  else writeJson(io, rows);
}
