/** The mistakes that a zod schema found, in words that say what stands there, what may, and what was probably meant. */
import type { z } from "zod";
import { nearest } from "../core/nearest.ts";

export interface Mistake {
  path: PropertyKey[];
  message: string;
}

/** Every mistake of `value` against `schema`, unknown keys one by one. */
export function mistakesOf(schema: z.ZodType, value: unknown, below: readonly PropertyKey[] = []): Mistake[] {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return [];
  return result.error.issues.flatMap((issue) => describe(issue, schema, below));
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodType, below: readonly PropertyKey[]): Mistake[] {
  const path = [...below, ...issue.path];
  if (issue.code === "unrecognized_keys") {
    const known = keysAt(schema, issue.path);
    return issue.keys.map((key) => {
      const near = nearest(key, known);
      return { path: [...path, key], message: `unknown key${near ? `: did you mean "${near}"?` : ""}` };
    });
  }
  if (issue.code === "invalid_type") {
    if (issue.input === undefined)
      return [{ path, message: `is missing: must be ${article(issue.expected)}` }];
    return [{ path, message: `must be ${article(issue.expected)}, not ${shown(issue.input)}` }];
  }
  if (issue.code === "invalid_value") {
    const accepted = issue.values.map(String);
    const near = typeof issue.input === "string" ? nearest(issue.input, accepted) : undefined;
    const what = issue.input === undefined ? "is missing" : `is ${shown(issue.input)}`;
    return [
      { path, message: `${what}: accepted ${accepted.join(", ")}${near ? `; did you mean "${near}"?` : ""}` },
    ];
  }
  if (issue.code === "invalid_union") {
    // The alternative that came furthest is the one that was meant.
    const best = issue.errors.toSorted((a, b) => depth(b) - depth(a) || a.length - b.length)[0];
    if (best && depth(best) > 0) return best.flatMap((i) => describe(i, schema, path));
    const all = new Set(
      issue.errors.flatMap((e) => e.flatMap((i) => describe(i, schema, []).map((m) => m.message))),
    );
    return [{ path, message: [...all].join(", or ") || issue.message }];
  }
  const limit = limitOf(issue);
  if (limit) return [{ path, message: `${limit}, not ${shown(issue.input)}` }];
  const input =
    issue.input === undefined || typeof issue.input === "object" ? "" : `, not ${shown(issue.input)}`;
  return [
    {
      path,
      message: `${decapitalize(issue.message)}${issue.message.includes(String(issue.input)) ? "" : input}`,
    },
  ];
}

/** zod's own words for a limit are a formula; a schema's words are kept. */
function limitOf(issue: z.core.$ZodIssue): string | undefined {
  const what =
    { string: " characters", array: " entries" }[(issue as { origin?: string }).origin ?? ""] ?? "";
  const verb = what ? "must have" : "must be";
  if (issue.code === "too_small" && issue.message.startsWith("Too small")) {
    return `${verb} ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${what}`;
  }
  if (issue.code === "too_big" && issue.message.startsWith("Too big")) {
    return `${verb} ${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}${what}`;
  }
  return undefined;
}

/** The keys that an object may have at a path, for suggestions. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at: unknown = schema;
  for (const key of [...path, undefined]) {
    at = unwrap(at);
    const def = defOf(at);
    if (key === undefined) return Object.keys((def?.["shape"] as object | undefined) ?? {});
    at =
      (def?.["shape"] as Record<PropertyKey, unknown> | undefined)?.[key] ??
      def?.["element"] ??
      def?.["valueType"];
  }
  return [];
}

function unwrap(schema: unknown): unknown {
  let at = schema;
  for (;;) {
    const def = defOf(at);
    const inner = def?.["innerType"] ?? def?.["in"];
    if (inner === undefined) return at;
    at = inner;
  }
}

function defOf(schema: unknown): Record<string, unknown> | undefined {
  return (schema as { _zod?: { def: Record<string, unknown> } } | undefined)?._zod?.def;
}

function depth(issues: readonly z.core.$ZodIssue[]): number {
  return Math.max(0, ...issues.map((i) => i.path.length));
}

function article(expected: string): string {
  if (expected === "int") return "a whole number";
  if (expected === "record" || expected === "object") return "a mapping";
  if (expected === "array") return "a list";
  return `${/^[aeiou]/.test(expected) ? "an" : "a"} ${expected}`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

function decapitalize(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
