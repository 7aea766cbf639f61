/** The host process as an Io, and how it ends: flushed output, a quiet EPIPE, signals. */
import { isatty } from "node:tty";
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

/** Ends the host process when all that was written has left it. */
export async function exit(code: number): Promise<never> {
  const flushed = [process.stdout, process.stderr].map(
    (stream) =>
      new Promise<void>((done) => (stream.writableLength > 0 ? stream.write("", () => done()) : done())),
  );
  await Promise.all(flushed);
  process.exit(code);
}

function sink(stream: NodeJS.WriteStream, fd: number): Sink {
  return {
    write: (text) => void stream.write(text),
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
