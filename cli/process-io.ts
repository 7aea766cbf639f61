/** The host process as an Io, and how it ends: flushed output, a quiet EPIPE, signals. */
import { type Io, signalExit, type Sink } from "./io.ts";

export function processIo(): Io {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    let count = 0;
    process.on(name, () => {
      // Whoever asks twice does not want to wait for a graceful end.
      if (++count > 1) process.exit(signalExit(name));
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
    stdout: sink(process.stdout),
    stderr: sink(process.stderr),
    ask: process.stdin.isTTY && process.stderr.isTTY ? ask : undefined,
    env: process.env,
    cwd: process.cwd(),
    signal: abort.signal,
  };
}

/** Ends the host process when all that was written has left it. */
export async function exit(code: number): Promise<never> {
  const flushed = [process.stdout, process.stderr].map(
    (stream) =>
      new Promise<void>((done) => (stream.writableLength > 0 ? stream.write("", () => done()) : done())),
  );
  await Promise.all(flushed);
  process.exit(code);
}

function sink(stream: NodeJS.WriteStream): Sink {
  return {
    write: (text) => void stream.write(text),
    isTTY: stream.isTTY === true,
    get columns() {
      return stream.isTTY ? stream.columns || 80 : 0;
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
