/**
 * What dvs says to people: on stderr, by consola, which is loaded when the first word is said (20 ms that a silent
 * command does not pay). Lines are written in the order in which they were said.
 */
import type { ConsolaInstance } from "consola";
import type { Io } from "./io.ts";
import { colored } from "./io.ts";

type Level = "info" | "success" | "warn" | "error";

export interface Words {
  info(text: string): void;
  success(text: string): void;
  warn(text: string): void;
  error(text: string): void;
  /** From now on only errors are said. */
  quiet(): void;
  isQuiet(): boolean;
  /** Resolves when everything said was written. */
  flush(): Promise<void>;
}

export function createWords(io: Io): Words {
  let quiet = false;
  let said: Promise<unknown> = Promise.resolve();
  let consola: Promise<ConsolaInstance> | undefined;
  const say = (level: Level, text: string) => {
    if (quiet && level !== "error") return;
    said = said.then(async () => {
      consola ??= load(io);
      (await consola)[level](text);
    });
  };
  return {
    info: (text) => say("info", text),
    success: (text) => say("success", text),
    warn: (text) => say("warn", text),
    error: (text) => say("error", text),
    quiet: () => void (quiet = true),
    isQuiet: () => quiet,
    flush: async () => void (await said),
  };
}

async function load(io: Io): Promise<ConsolaInstance> {
  const color = colored(io, io.stderr);
  const { createConsola } = color ? await import("consola") : await import("consola/basic");
  // Consola wants Node's streams; of them it uses write() alone, and `columns` where it is there.
  const stream = { write: (text: string) => io.stderr.write(text), columns: io.stderr.columns };
  return createConsola({
    level: 4,
    fancy: color,
    stdout: stream as unknown as NodeJS.WriteStream,
    stderr: stream as unknown as NodeJS.WriteStream,
    formatOptions: { colors: color, date: false, compact: true },
    throttle: 0,
  } as Parameters<typeof createConsola>[0]);
}
