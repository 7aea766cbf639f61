/**
 * What a command has of the outside world. The tests give one of their own and run commands in their own process;
 * the entry point gives the host process's.
 */
import type { Env } from "./parse.ts";

export interface Sink {
  write(text: string): void;
  /** Resolves when there is room for more. */
  writeBytes(bytes: Uint8Array): Promise<void>;
  isTTY: boolean;
  /** Width of the terminal; 0 when it is none. */
  columns: number;
}

export interface Io {
  /** Data, and nothing else. */
  stdout: Sink;
  /** Words for people. */
  stderr: Sink;
  /** A line typed by a person; undefined where nobody can type. */
  ask: ((question: string) => Promise<string>) | undefined;
  /** All of standard input, for `--file -`. */
  readStdin(): Promise<string>;
  env: Env;
  cwd: string;
  /** Aborted by SIGINT and SIGTERM; its reason is the signal's name. */
  signal: AbortSignal;
}

/** Whether to colour what goes to `sink`: NO_COLOR beats FORCE_COLOR beats "is a terminal". */
export function colored(io: Io, sink: Sink): boolean {
  if (io.env["NO_COLOR"]) return false;
  if (io.env["FORCE_COLOR"] && io.env["FORCE_COLOR"] !== "0") return true;
  return sink.isTTY && io.env["TERM"] !== "dumb";
}

const sgr = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const;
export type Paint = (style: keyof typeof sgr, text: string) => string;

export function painter(io: Io, sink: Sink): Paint {
  if (!colored(io, sink)) return (_, text) => text;
  return (style, text) => `\u001B[${sgr[style]}m${text}\u001B[0m`;
}

/** 128 + the signal's number, as a shell reports it. */
export function signalExit(name: unknown): number {
  return name === "SIGTERM" ? 143 : 130;
}
