/**
 * A configuration from environment variables: `<prefix>_<FIELD>`, the field's name in capitals with `_` before each
 * inner capital (`dataDir`: DVS_COORDINATOR_DATA_DIR). A value is read as YAML, so `3` is a number, `[8080, 8443]`
 * a list and `{disk: ssd}` a mapping; lists may leave the brackets out.
 */
import { parse } from "yaml";
import { DvsError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import type { Layer } from "./layers.ts";

export interface Field {
  name: string;
  /** What its text becomes. */
  type: "text" | "yaml" | "list";
}

export function variableOf(prefix: string, field: string): string {
  return `${prefix}_${field.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`;
}

/** Throws INVALID for variables that begin like these and name no field: a mistyped one would be ignored silently. */
export function environmentLayer(
  prefix: string,
  fields: readonly Field[],
  env: Record<string, string | undefined>,
): Layer {
  const value: Record<string, unknown> = {};
  const byVariable = new Map(fields.map((f) => [variableOf(prefix, f.name), f]));
  const unknown: string[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(`${prefix}_`) || text === undefined || text === "") continue;
    const field = byVariable.get(variable);
    if (field) value[field.name] = read(field, variable, text);
    else unknown.push(variable);
  }
  if (unknown.length > 0) {
    const issues = unknown.map((variable) => {
      const near = nearest(variable, [...byVariable.keys()]);
      return { path: variable, message: `unknown variable${near ? `: did you mean ${near}?` : ""}` };
    });
    throw new DvsError(
      "INVALID",
      `Invalid environment:\n${issues.map((i) => `  ${i.path}: ${i.message}`).join("\n")}`,
      { issues },
    );
  }
  return {
    value: Object.keys(value).length > 0 ? value : undefined,
    name: (path) => [variableOf(prefix, String(path[0])), ...path.slice(1).map(String)].join("."),
  };
}

function read(field: Field, variable: string, text: string): unknown {
  if (field.type === "text") return text;
  const source = field.type === "list" && !text.trimStart().startsWith("[") ? `[${text}]` : text;
  try {
    return parse(source) as unknown;
  } catch (e) {
    throw new DvsError(
      "INVALID",
      `Invalid environment:\n  ${variable}: ${(e as Error).message.split("\n")[0]}`,
      {
        cause: e,
        issues: [{ path: variable, message: (e as Error).message }],
      },
    );
  }
}
