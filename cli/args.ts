/**
 * What the flags and positionals of a command are declared with. One declaration feeds the strict parser, the help
 * and the types that the command's `run` receives; adding a flag is one line in its command's file.
 */

interface Described {
  /** One line for the help, with the unit where there is one. */
  description: string;
}

interface Flag extends Described {
  /** One letter: `-o`. */
  short?: string;
  /** Environment variable that gives the value where the flag is absent. Shown in the help. */
  env?: string;
  required?: boolean;
  /** What the help shows for the value: `--site DIR`. */
  value?: string;
}

export interface BooleanArg extends Omit<Flag, "required" | "value"> {
  type: "boolean";
}
export interface StringArg extends Flag {
  type: "string";
  default?: string;
}
export interface EnumArg extends Flag {
  type: "enum";
  options: readonly string[];
  default?: string;
}
/** A whole number within [min, max]. */
export interface NumberArg extends Flag {
  type: "number";
  min: number;
  max: number;
  default?: number;
}
/** `500ms`, `30s`, `5m`, `1h`; the command gets milliseconds. A bare number is refused: its unit is a guess. */
export interface DurationArg extends Flag {
  type: "duration";
  default?: string;
}
/** A flag that may be given several times; the command gets all values in order. */
export interface ListArg extends Flag {
  type: "list";
}
/** By place. Only the last may be `many`. */
export interface PositionalArg extends Described {
  type: "positional";
  required?: boolean;
  many?: boolean;
}

export type ArgDef = BooleanArg | StringArg | EnumArg | NumberArg | DurationArg | ListArg | PositionalArg;
export type ArgDefs = Record<string, ArgDef>;

type Given<D, V> = D extends { required: true } | { default: string | number } ? V : V | undefined;

type ValueOf<D extends ArgDef> = D extends { type: "boolean" }
  ? boolean
  : D extends { type: "list" } | { type: "positional"; many: true }
    ? string[]
    : D extends { type: "number" } | { type: "duration" }
      ? Given<D, number>
      : D extends { type: "enum"; options: readonly (infer O)[] }
        ? Given<D, O>
        : Given<D, string>;

/** The values of a command's arguments after parsing. */
export type ArgsOf<T extends ArgDefs> = { [K in keyof T]: ValueOf<T[K]> };

/** Flags that every command takes. */
export const commonArgs = {
  quiet: { type: "boolean", short: "q", description: "Say nothing but errors; data still goes to stdout" },
  help: { type: "boolean", short: "h", description: "Show this help" },
} as const satisfies ArgDefs;

/** For commands that print data. */
export const outputArgs = {
  output: {
    type: "enum",
    short: "o",
    options: ["table", "json"],
    default: "table",
    env: "DVS_OUTPUT",
    description: "table for people, json for programs",
  },
} as const satisfies ArgDefs;

/** For commands that print a stream. */
export const streamArgs = {
  output: {
    type: "enum",
    short: "o",
    options: ["table", "ndjson", "json"],
    default: "table",
    env: "DVS_OUTPUT",
    description: "table for people, ndjson for programs: one JSON object a line (json means the same)",
  },
} as const satisfies ArgDefs;

/** For commands that call the coordinator. */
export const clientArgs = {
  addr: {
    type: "string",
    value: "HOST:PORT",
    env: "DVS_ADDR",
    description: "Coordinator to call; several separated by commas",
  },
  token: { type: "string", value: "TOKEN", env: "DVS_TOKEN", description: "API token" },
  context: {
    type: "string",
    value: "FILE",
    env: "DVS_CONTEXT",
    description: "Where address and token are kept ($DVS_HOME/context.json, else ~/.dvs/context.json)",
  },
} as const satisfies ArgDefs;

/** For the hidden commands that an agent starts: each finds all it is told, and keeps its sockets, in one directory. */
export function runDirArgs(description: string) {
  return {
    "run-dir": { type: "string", value: "DIR", required: true, description },
  } as const satisfies ArgDefs;
}

/** For commands that change something and wait until it is done. */
export const waitArgs = {
  timeout: {
    type: "duration",
    value: "TIME",
    default: "2m",
    description: "Wait at most this long; what was asked for goes on afterwards (exit code 7)",
  },
  detach: { type: "boolean", description: "Do not wait" },
} as const satisfies ArgDefs;
