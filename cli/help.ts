/** The help: `dvs --help`, `dvs instance --help`, `dvs instance create --help`, and `dvs help` before any of them. */
import type { ArgDef } from "./args.ts";
import { clientArgs, commonArgs, outputArgs, waitArgs } from "./args.ts";
import type { Command } from "./command.ts";
import { commands, type Group, isGroup, type Leaf } from "./commands.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Paint } from "./io.ts";

const indent = "  ";
const flagColumn = 26;

export function rootHelp(paint: Paint): string {
  const groups = Object.entries(commands).filter(([, e]) => isGroup(e) || !e.hidden);
  const rows = groups.map(([name, e]): [string, string] => [
    isGroup(e) ? `${name} ${Object.keys(e.commands).join("|")}` : name,
    e.summary,
  ]);
  const short = rows.map(([name, summary]): [string, string] => [name.split(" ")[0]!, summary]);
  return sections(paint, [
    ["", ["dvs: instances of virtual operating systems, each spread over several machines"]],
    ["Usage", [`${indent}dvs COMMAND [ARGUMENTS]`]],
    ["Commands", list(short)],
    [
      "Start here",
      list([
        ["dvs up --nodes 3", "a cluster on this machine, without root"],
        ["dvs instance create web --os web --nodes 3 --site ./public --publish 8080", ""],
        ["dvs status", "what runs where"],
        ["dvs down", "end it"],
      ]),
    ],
    [
      "Exit codes",
      list(
        exitCodes().map(([code, text]) => [String(code), text]),
        5,
      ),
    ],
    ["Environment", list(environment())],
    ["", [`More: dvs COMMAND --help, or dvs help COMMAND`]],
  ]);
}

/** What dvs reads from the environment, apart from the files' own (`dvs config schema`). */
export function environment(): [string, string][] {
  return [
    ["DVS_ADDR, DVS_TOKEN", "coordinator and API token; beaten by --addr, --token; beat the context file"],
    ["DVS_CONTEXT", "context file to use"],
    ["DVS_HOME", "directory of the context file and the development cluster (~/.dvs)"],
    ["DVS_OUTPUT", "table or json, where a command has -o"],
    [
      "DVS_INSTANCE_*, DVS_AGENT_*, DVS_COORDINATOR_*",
      "fields of configuration files, as in DVS_INSTANCE_NODES=3",
    ],
    ["DVS_DEBUG=1", "errors with their stack and causes"],
    ["NO_COLOR, FORCE_COLOR=1", "no colour, or colour also without a terminal"],
  ];
}

export function groupHelp(path: string[], group: Group, paint: Paint): string {
  const visible = Object.entries(group.commands).filter(([, leaf]) => !leaf.hidden);
  return sections(paint, [
    ["", [group.summary]],
    ["Usage", [`${indent}dvs ${path.join(" ")} COMMAND [ARGUMENTS]`]],
    ["Commands", list(visible.map(([name, leaf]) => [name, leaf.summary]))],
    ["", [`More: dvs ${path.join(" ")} COMMAND --help`]],
  ]);
}

export function commandHelp(path: string[], leaf: Leaf, command: Command, paint: Paint): string {
  const all = Object.entries(command.args);
  const positionals = all.filter(([, def]) => def.type === "positional");
  const shared = new Set(Object.keys({ ...outputArgs, ...clientArgs, ...waitArgs, ...commonArgs }));
  const flags = all.filter(([key, def]) => def.type !== "positional" && !shared.has(key));
  const general = all.filter(([key, def]) => def.type !== "positional" && shared.has(key));
  const usage = positionals.map(([key, def]) => {
    const name = key.toUpperCase();
    const { required, many } = def as { required?: boolean; many?: boolean };
    return `${required ? name : `[${name}]`}${many ? "..." : ""}`;
  });
  return sections(paint, [
    ["", [leaf.summary, ...(command.details ? ["", ...command.details.split("\n")] : [])]],
    ["Usage", [`${indent}dvs ${[...path, ...usage].join(" ")}${flags.length > 0 ? " [FLAGS]" : ""}`]],
    ["Arguments", list(positionals.map(([key, def]) => [key.toUpperCase(), def.description]))],
    ["Flags", list(flags.map(([key, def]) => flagRow(key, def)))],
    ["General flags", list(general.map(([key, def]) => flagRow(key, def)))],
    ["Examples", command.examples.flatMap(([cmd, what]) => [`${indent}# ${what}`, `${indent}${cmd}`])],
  ]);
}

function flagRow(key: string, def: ArgDef): [string, string] {
  if (def.type === "positional") return [key, def.description];
  const value =
    def.type === "boolean"
      ? ""
      : def.type === "enum"
        ? ` ${def.options.join("|")}`
        : ` ${def.value ?? (def.type === "number" ? "N" : def.type === "duration" ? "TIME" : "VALUE")}`;
  const notes: string[] = [];
  if (def.type === "list") notes.push("may be repeated");
  if ("default" in def && def.default !== undefined) notes.push(`default ${def.default}`);
  if ("required" in def && def.required) notes.push("required");
  if (def.env) notes.push(`$${def.env}`);
  const description = notes.length > 0 ? `${def.description} (${notes.join(", ")})` : def.description;
  return [`${def.short ? `-${def.short}, ` : indent + indent}--${key}${value}`, description];
}

function list(rows: readonly (readonly [string, string])[], column = flagColumn): string[] {
  const width = Math.min(column, Math.max(0, ...rows.map(([name]) => name.length)));
  return rows.flatMap(([name, text]) => {
    if (!text) return [`${indent}${name}`];
    if (name.length > width) return [`${indent}${name}`, `${indent}${" ".repeat(width)}  ${text}`];
    return [`${indent}${name.padEnd(width)}  ${text}`];
  });
}

function sections(paint: Paint, parts: readonly (readonly [title: string, lines: string[]])[]): string {
  return `${parts
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) =>
      title ? `${paint("bold", `${title}:`)}\n${lines.join("\n")}` : lines.join("\n"),
    )
    .join("\n\n")}\n`;
}
