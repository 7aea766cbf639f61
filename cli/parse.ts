/**
 * The strict reading of a command line. Nothing is guessed and nothing ignored: an unknown flag, a value outside
 * what is accepted, a positional too many or too few are mistakes, and all of them are reported at once.
 */
import { DvsError, type Issue } from "../core/errors.ts";
import type { ArgDef, ArgDefs, ArgsOf } from "./args.ts";
import { parseDuration } from "./duration.ts";
import { didYouMean } from "../core/nearest.ts";

type Value = string | number | boolean | string[] | undefined;

export type Env = Record<string, string | undefined>;

/** `name`: how the command is called, for messages: `dvs instance create`. Throws INVALID. */
export function parseArgs<T extends ArgDefs>(name: string, defs: T, argv: string[], env: Env): ArgsOf<T> {
  const mistakes: Issue[] = [];
  const values: Record<string, Value> = {};
  const given = new Set<string>();
  const words: string[] = [];
  const shorts = new Map<string, string>();
  const flags: string[] = [];
  let unknown = false;
  for (const [key, def] of Object.entries(defs)) {
    if (def.type === "positional") continue;
    flags.push(key);
    if (def.short) shorts.set(def.short, key);
  }
  const wrong = (path: string, message: string) => mistakes.push({ path, message });

  const take = (key: string, def: ArgDef, raw: string, shown: string) => {
    const again = given.has(key);
    given.add(key);
    const value = read(def, raw);
    if (again && def.type !== "list") wrong(shown, `flag ${shown} is given twice`);
    else if (value instanceof Error) wrong(shown, `bad value "${raw}" for ${shown}: ${value.message}`);
    else if (def.type === "list") values[key] = [...listOf(values[key]), raw];
    else values[key] = value;
  };

  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]!;
    if (arg === "--") {
      words.push(...argv.slice(i + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      words.push(arg);
      continue;
    }
    const long = arg.startsWith("--");
    const equals = long ? arg.indexOf("=") : -1;
    const shown = long ? (equals < 0 ? arg : arg.slice(0, equals)) : arg.slice(0, 2);
    const key = long ? shown.slice(2) : shorts.get(arg[1]!);
    const def = key !== undefined && flags.includes(key) ? defs[key] : undefined;
    if (key === undefined || def === undefined) {
      const hint = long ? didYouMean(shown.slice(2), flags, (s) => `--${s}`) : "";
      wrong(shown, `unknown flag ${shown}${hint}`);
      unknown = true;
      continue;
    }
    const inline = equals >= 0 ? arg.slice(equals + 1) : !long && arg.length > 2 ? arg.slice(2) : undefined;
    if (def.type === "boolean") {
      if (!long && inline !== undefined) {
        argv = [...argv.slice(0, i + 1), `-${inline}`, ...argv.slice(i + 1)];
        take(key, def, "true", shown);
      } else take(key, def, inline ?? "true", shown);
      continue;
    }
    const next = argv[i + 1];
    if (inline !== undefined) take(key, def, inline, shown);
    else if (next !== undefined && (!next.startsWith("-") || next === "-" || /^-\d/.test(next))) {
      take(key, def, next, shown);
      i++;
    } else wrong(shown, `flag ${shown} needs a value: ${accepted(def)}`);
  }

  const extra = place(defs, words, values, wrong);
  // After an unknown flag a word too many is most likely its value: not one more mistake.
  if (!unknown) for (const word of extra) wrong("", `unexpected argument "${word}" for "${name}"`);
  complete(defs, env, values, given, wrong);

  if (mistakes.length > 0) {
    const lines = mistakes.map((m) => m.message);
    const text =
      lines.length === 1 ? lines[0]! : `${lines.length} mistakes:\n${lines.map((l) => `  ${l}`).join("\n")}`;
    throw new DvsError("INVALID", `${text}\nSee "${name} --help".`, { issues: mistakes });
  }
  return values as ArgsOf<T>;
}

/** Gives the words without a flag to the positionals, in their order; returns the words too many. */
function place(
  defs: ArgDefs,
  words: string[],
  values: Record<string, Value>,
  wrong: (path: string, message: string) => void,
): string[] {
  let next = 0;
  for (const [key, def] of Object.entries(defs)) {
    if (def.type !== "positional") continue;
    const shown = key.toUpperCase();
    if (def.many) {
      values[key] = words.slice(next);
      if (def.required && next >= words.length) wrong(key, `missing ${shown}: ${def.description}`);
      next = words.length;
    } else if (next < words.length) values[key] = words[next++];
    else if (def.required) wrong(key, `missing ${shown}: ${def.description}`);
  }
  return words.slice(next);
}

/** Environment and defaults, for what the command line leaves open. */
function complete(
  defs: ArgDefs,
  env: Env,
  values: Record<string, Value>,
  given: Set<string>,
  wrong: (path: string, message: string) => void,
): void {
  for (const [key, def] of Object.entries(defs)) {
    if (def.type === "positional" || given.has(key)) continue;
    const fromEnv = def.env === undefined ? undefined : env[def.env];
    if (fromEnv) {
      const value = read(def, fromEnv);
      if (value instanceof Error) wrong(def.env!, `bad value "${fromEnv}" in ${def.env}: ${value.message}`);
      else values[key] = def.type === "list" ? [fromEnv] : value;
    } else if (def.type === "boolean") values[key] = false;
    else if (def.type === "list") values[key] = [];
    else if (def.default !== undefined)
      values[key] = def.type === "duration" ? parseDuration(def.default) : def.default;
    else if (def.required) wrong(`--${key}`, `missing --${key}: ${def.description}`);
  }
}

function listOf(value: Value): string[] {
  return Array.isArray(value) ? value : [];
}

function read(def: ArgDef, raw: string): Value | Error {
  switch (def.type) {
    case "boolean":
      return raw === "true" ? true : raw === "false" ? false : new Error("accepted: true, false");
    case "enum":
      if (def.options.includes(raw)) return raw;
      return new Error(`accepted: ${accepted(def)}${didYouMean(raw, def.options)}`);
    case "number": {
      const n = Number(raw);
      if (/^-?\d+$/.test(raw) && Number.isSafeInteger(n) && n >= def.min && n <= def.max) return n;
      return new Error(`accepted: ${accepted(def)}`);
    }
    case "duration":
      return parseDuration(raw) ?? new Error(`accepted: ${accepted(def)}`);
    default:
      return raw === "" ? new Error("must not be empty") : raw;
  }
}

/** What a flag accepts, in words: `one of table, json`. */
export function accepted(def: ArgDef): string {
  switch (def.type) {
    case "enum":
      return `one of ${def.options.join(", ")}`;
    case "number":
      return def.max === Number.MAX_SAFE_INTEGER
        ? `a whole number from ${def.min}`
        : `a whole number from ${def.min} to ${def.max}`;
    case "duration":
      return "a number with its unit, as in 500ms, 30s, 5m, 1h, 7d";
    default:
      return def.description;
  }
}
