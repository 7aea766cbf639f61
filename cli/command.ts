/**
 * A command is one file under commands/ with one default export made by `command()`. It is a citty command: citty
 * holds its meta and arguments and runs it; the strict reading of the command line is parse.ts's, because citty
 * takes unknown flags for values and keeps only the last of a repeated flag.
 */
import { defineCommand, runCommand, type CommandDef } from "citty";
import type { ArgDefs, ArgsOf } from "./args.ts";
import { commonArgs } from "./args.ts";
import type { Io } from "./io.ts";
import { parseArgs } from "./parse.ts";
import type { Words } from "./words.ts";

export interface Context<T extends ArgDefs> {
  args: ArgsOf<T & typeof commonArgs>;
  io: Io;
  words: Words;
}

export interface CommandSpec<T extends ArgDefs> {
  /** Arguments in the order of the help. */
  args: T;
  /** What the help says below the summary: when to use it, what happens, what is waited for. */
  details?: string;
  examples: readonly (readonly [command: string, what: string])[];
  /** True where the command ends gracefully by itself when `io.signal` aborts; others end at once. */
  service?: boolean;
  /** Rejects with a DvsError for what people can meet. A number is the exit code, nothing is 0. */
  run(context: Context<T>): Promise<number | void>;
}

export interface Command {
  args: ArgDefs;
  details: string;
  examples: readonly (readonly [string, string])[];
  /** `name`: all its words, `dvs instance create`. Resolves with the exit code. */
  execute(name: string, argv: string[], io: Io, words: Words): Promise<number>;
}

export function command<const T extends ArgDefs>(spec: CommandSpec<T>): Command {
  const args = { ...spec.args, ...commonArgs };
  return {
    args,
    details: spec.details ?? "",
    examples: spec.examples,
    async execute(name, argv, io, words) {
      const values = parseArgs(name, args, argv, io.env);
      if ((values as { quiet: boolean }).quiet) words.quiet();
      const work = runCommand(forCitty(name, spec, { args: values, io, words }), { rawArgs: [] });
      const { result } = await (spec.service ? work : Promise.race([work, aborted(io.signal)]));
      return typeof result === "number" ? result : 0;
    },
  };
}

function forCitty<T extends ArgDefs>(name: string, spec: CommandSpec<T>, context: Context<T>): CommandDef {
  return defineCommand({ meta: { name }, run: () => spec.run(context) });
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(new Error(`ended by ${String(signal.reason)}`));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
