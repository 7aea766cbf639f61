/** Values of an instance's key-value, as people see and give them. */
import type { KvEntryJson } from "../../core/state/kv-ask.ts";
import type { Io } from "../io.ts";
import type { Column } from "../table.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const shownCharsMax = 60;

/** Null where it is no UTF-8. */
export function textOf(base64: string): string | null {
  try {
    return decoder.decode(Buffer.from(base64, "base64"));
  } catch {
    return null;
  }
}

/** What was given on the command line; `-`: all of standard input. As base64. */
export async function givenValue(io: Io, value: string): Promise<string> {
  const text = value === "-" ? await io.readStdin() : value;
  return Buffer.from(text, "utf8").toString("base64");
}

/** In one line, and not all of a long one. */
export function shownValue(base64: string): string {
  const text = textOf(base64);
  if (text === null) return `(${Buffer.from(base64, "base64").length} bytes)`;
  const plain = JSON.stringify(text).slice(1, -1);
  return plain.length > shownCharsMax ? `${plain.slice(0, shownCharsMax - 1)}…` : plain;
}

export const kvColumns: Column<KvEntryJson>[] = [
  { title: "KEY", value: ({ key }) => key },
  { title: "REVISION", value: ({ revision }) => String(revision), right: true },
  { title: "VALUE", value: ({ value }) => shownValue(value) },
];
