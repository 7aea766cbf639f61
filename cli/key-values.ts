/** `key=value` flags: labels, and options with dotted keys. */
import { parse } from "yaml";
import { define, isObject } from "../configs/layers.ts";
import { DvsError, type Issue } from "../core/errors.ts";

/** Throws INVALID with every flag that is no `key=value` or repeats a key. */
export function parseLabels(flag: string, given: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  const issues: Issue[] = [];
  for (const text of given) {
    const [key, value] = split(text);
    if (key === undefined)
      issues.push({ path: flag, message: `bad value "${text}" for ${flag}: accepted: key=value` });
    else if (Object.hasOwn(labels, key))
      issues.push({ path: flag, message: `${flag} ${key} is given twice` });
    else define(labels, key, value);
  }
  if (issues.length > 0) throw invalid(issues);
  return labels;
}

/**
 * `headers.0.path=/x` sets one value deep inside; a value is read as YAML, so `true`, `3` and `[a, b]` are what they
 * look like, and anything else is text. Throws INVALID with every mistake.
 */
export function parseOptions(flag: string, given: readonly string[]): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  const issues: Issue[] = [];
  for (const text of given) {
    const [key, value] = split(text);
    if (key === undefined) {
      issues.push({
        path: flag,
        message: `bad value "${text}" for ${flag}: accepted: key=value, as in cleanUrls=true`,
      });
      continue;
    }
    const conflict = setDeep(options, key.split("."), readValue(value ?? ""));
    if (conflict) issues.push({ path: `${flag} ${key}`, message: `${flag} ${key}: ${conflict}` });
  }
  if (issues.length > 0) throw invalid(issues);
  return options;
}

function split(text: string): [string, string] | [undefined] {
  const at = text.indexOf("=");
  return at > 0 ? [text.slice(0, at), text.slice(at + 1)] : [undefined];
}

function readValue(text: string): unknown {
  try {
    return parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Numeric steps make lists. Returns what stands in the way. */
function setDeep(root: Record<string, unknown>, path: string[], value: unknown): string | undefined {
  let at: Record<string, unknown> | unknown[] = root;
  for (const [i, key] of path.entries()) {
    if (key === "") return "has an empty step";
    if (Array.isArray(at) && (!/^\d{1,4}$/.test(key) || Number(key) > at.length)) {
      return `entry ${key} does not follow on entry ${at.length - 1}`;
    }
    const own: unknown = Object.hasOwn(at, key) ? (at as Record<string, unknown>)[key] : undefined;
    if (i === path.length - 1) {
      if (own !== undefined) return "is given twice";
      define(at as Record<string, unknown>, key, value);
    } else if (own === undefined) {
      const next: Record<string, unknown> | unknown[] = /^\d{1,4}$/.test(path[i + 1]!) ? [] : {};
      define(at as Record<string, unknown>, key, next);
      at = next;
    } else if (isObject(own) || Array.isArray(own)) at = own as Record<string, unknown>;
    else return `${path.slice(0, i + 1).join(".")} is a single value already`;
  }
  return undefined;
}

function invalid(issues: Issue[]): DvsError {
  return new DvsError("INVALID", issues.map((i) => i.message).join("\n"), { issues });
}
