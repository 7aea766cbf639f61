/**
 * One run of dvs: finds the command, runs it, says its failure, gives the exit code. It touches nothing but `io`,
 * so that tests run it in their own process.
 */
import { DvsError } from "../core/errors.ts";
import { commonArgs, type ArgDef, clientArgs, outputArgs, waitArgs } from "./args.ts";
import { commands, type Entry, isGroup } from "./commands.ts";
import { sayFailure } from "./failure.ts";
import { commandHelp, groupHelp, rootHelp } from "./help.ts";
import { type Io, painter, signalExit } from "./io.ts";
import { didYouMean } from "../core/nearest.ts";
import { version } from "../core/version.ts";
import { createWords } from "./words.ts";

export async function run(argv: string[], io: Io): Promise<number> {
  const words = createWords(io);
  let code: number;
  try {
    code = await dispatch(argv, io, words);
  } catch (thrown) {
    code = io.signal.aborted ? signalExit(io.signal.reason) : await sayFailure(thrown, argv, io, words);
  }
  await words.flush();
  return code;
}

async function dispatch(argv: string[], io: Io, words: ReturnType<typeof createWords>): Promise<number> {
  const { path, entry, rest } = find(argv);
  const paint = painter(io, io.stdout);
  const dashes = rest.indexOf("--");
  const asked = (dashes < 0 ? rest : rest.slice(0, dashes)).some((a) => a === "--help" || a === "-h");
  if (entry === undefined) {
    if (rest.includes("--version") || rest.includes("-V")) {
      io.stdout.write(`${version}\n`);
      return 0;
    }
    if (asked || argv[0] === "help") {
      io.stdout.write(rootHelp(paint));
      return 0;
    }
    const unknown = rest.find((a) => a.startsWith("-"));
    if (unknown) throw unknownFlag(unknown, "dvs", ["help", "version"]);
    io.stderr.write(rootHelp(painter(io, io.stderr)));
    return 2;
  }
  if (isGroup(entry)) {
    if (asked || argv[0] === "help") {
      io.stdout.write(groupHelp(path, entry, paint));
      return 0;
    }
    const unknown = rest.find((a) => a.startsWith("-"));
    if (unknown) throw unknownFlag(unknown, `dvs ${path.join(" ")}`, ["help"]);
    io.stderr.write(groupHelp(path, entry, painter(io, io.stderr)));
    return 2;
  }
  const { default: command } = await entry.load();
  if (asked || argv[0] === "help") {
    io.stdout.write(commandHelp(path, entry, command, paint));
    return 0;
  }
  return command.execute(`dvs ${path.join(" ")}`, rest, io, words);
}

/** Flags that may also stand before the command: `dvs -o json instance ls`. The command itself checks them. */
const early: Record<string, ArgDef> = { ...outputArgs, ...clientArgs, ...waitArgs, ...commonArgs };

/** Walks the words of the command; throws INVALID for one that is none. */
function find(argv: string[]): { path: string[]; entry: Entry | undefined; rest: string[] } {
  const before: string[] = [];
  let words = argv;
  while (words[0]?.startsWith("-")) {
    const [flag, ...others] = words as [string, ...string[]];
    const name = flag.startsWith("--")
      ? flag.slice(2).split("=")[0]!
      : Object.keys(early).find((k) => (early[k] as { short?: string }).short === flag[1]);
    const def = name === undefined ? undefined : early[name];
    const takesNext =
      def !== undefined &&
      def.type !== "boolean" &&
      !flag.includes("=") &&
      (flag.startsWith("--") || flag.length === 2);
    before.push(flag, ...(takesNext ? others.slice(0, 1) : []));
    words = takesNext ? others.slice(1) : others;
  }
  if (words[0] === "help") words = words.slice(1);
  const [first, second] = words;
  if (first === undefined) return { path: [], entry: undefined, rest: before };
  const entry = Object.hasOwn(commands, first) ? commands[first] : undefined;
  if (!entry) throw unknownCommand("dvs", first, commands);
  if (!isGroup(entry)) return { path: [first], entry, rest: [...before, ...words.slice(1)] };
  if (second === undefined || second.startsWith("-")) {
    return { path: [first], entry, rest: [...before, ...words.slice(1)] };
  }
  const leaf = Object.hasOwn(entry.commands, second) ? entry.commands[second] : undefined;
  if (!leaf) throw unknownCommand(`dvs ${first}`, second, entry.commands);
  return { path: [first, second], entry: leaf, rest: [...before, ...words.slice(2)] };
}

function unknownCommand(parent: string, word: string, known: Record<string, Entry>): DvsError {
  const visible = Object.keys(known).filter((name) => !(known[name] as { hidden?: boolean }).hidden);
  const hint = didYouMean(word, visible, (s) => `"${parent} ${s}"`);
  return new DvsError("INVALID", `unknown command "${parent} ${word}"${hint}\nSee "${parent} --help".`, {
    issues: [{ path: word, message: `unknown command${hint}` }],
  });
}

function unknownFlag(flag: string, name: string, known: string[]): DvsError {
  const hint = didYouMean(flag.replace(/^-+/, ""), known, (s) => `--${s}`);
  return new DvsError("INVALID", `unknown flag ${flag}${hint}\nSee "${name} --help".`, {
    issues: [{ path: flag, message: `unknown flag${hint}` }],
  });
}
