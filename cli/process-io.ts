/** The host process as an Io, and how it ends: flushed output, a quiet EPIPE, signals. */
import { isatty } from "node:tty";
import { ERRORS } from "../core/errors.ts";
import { type Io, signalExit, type Sink } from "./io.ts";

export function processIo(): Io {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      // Whoever types Ctrl-C twice does not want to wait for a graceful end.
      if (name === "SIGINT" && abort.signal.aborted) process.exit(signalExit(name));
      abort.abort(name);
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    // `dvs events | head`: the reader has seen enough, which is no failure.
    stream.on("error", (e: NodeJS.ErrnoException) => {
      if (e.code === "EPIPE") process.exit(0);
      throw e;
    });
  }
  return {
    stdout: sink(process.stdout, 1),
    stderr: sink(process.stderr, 2),
    ask: process.stdin.isTTY && process.stderr.isTTY ? ask : undefined,
    readStdin,
    env: process.env,
    cwd: process.cwd(),
    signal: abort.signal,
  };
}

/**
 * Writes that have not left the process. A stream's own `writableLength` does not know of them: Bun takes a text at
 * once and sends it in the background, so a slow reader of a pipe would get the first 64 KiB only.
 */
const unwritten = new Set<Promise<void>>();
/** Why data on stdout did not leave the process; its end comes before the stream's own event. */
let lost: NodeJS.ErrnoException | undefined;

/** Ends the host process when all that was written has left it; a success whose data was lost is none. */
export async function exit(code: number): Promise<never> {
  while (unwritten.size > 0) await Promise.all(unwritten);
  if (code !== 0 || lost === undefined) process.exit(code);
  process.stderr.write(`[error] Cannot write to standard output: ${lost.message}\n`);
  const full = lost.code === "ENOSPC" || lost.code === "EDQUOT";
  process.exit(ERRORS[full ? "EXHAUSTED" : "FAILED"].exit);
}

function sink(stream: NodeJS.WriteStream, fd: number): Sink {
  const write = (data: string | Uint8Array): Promise<void> => {
    const written = new Promise<void>((done) => {
      stream.write(data, (e?: NodeJS.ErrnoException | null) => {
        if (e && e.code !== "EPIPE" && fd === 1) lost ??= e;
        done();
      });
    });
    unwritten.add(written);
    void written.then(() => unwritten.delete(written));
    return written;
  };
  return {
    write: (text) => void write(text),
    writeBytes: (bytes) => write(bytes),
    isTTY: isatty(fd),
    get columns() {
      return isatty(fd) ? stream.columns || 80 : 0;
    },
  };
}

async function ask(question: string): Promise<string> {
  const { createInterface } = await import("node:readline/promises");
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await prompt.question(question);
  } finally {
    prompt.close();
  }
}

async function readStdin(): Promise<string> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const chunk of process.stdin) text += chunk as string;
  return text;
}
