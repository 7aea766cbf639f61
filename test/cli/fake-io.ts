/** An Io whose streams are strings, so that a test runs commands in its own process. */
import type { Io } from "../../cli/io.ts";
import { run } from "../../cli/run.ts";

export interface FakeOptions {
  env?: Record<string, string>;
  tty?: boolean;
  columns?: number;
  stdin?: string;
  ask?: (question: string) => Promise<string>;
  signal?: AbortSignal;
  cwd?: string;
}

export interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs dvs with these arguments. Nothing of the real environment is seen. */
export async function dvs(argv: string[], options: FakeOptions = {}): Promise<Ran> {
  const out = { stdout: "", stderr: "" };
  const sink = (name: "stdout" | "stderr") => ({
    write: (text: string) => void (out[name] += text),
    writeBytes: (bytes: Uint8Array) => {
      out[name] += new TextDecoder().decode(bytes);
      return Promise.resolve();
    },
    isTTY: options.tty ?? false,
    columns: options.columns ?? (options.tty ? 80 : 0),
  });
  const io: Io = {
    stdout: sink("stdout"),
    stderr: sink("stderr"),
    ask: options.ask,
    readStdin: async () => options.stdin ?? "",
    env: { HOME: "/nonexistent", ...options.env },
    cwd: options.cwd ?? process.cwd(),
    signal: options.signal ?? new AbortController().signal,
  };
  const code = await run(argv, io);
  return { code, ...out };
}
