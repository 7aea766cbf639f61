/**
 * What a pure machine may not do: read a clock, draw a random number, wait, or touch the world. Such files are those
 * of core/control and all whose name ends in `-machine.ts`.
 */
import { dirname, join } from "node:path/posix";
import { importsOf } from "./imports.ts";
import { type Token, tokensOf } from "./tokens.ts";

export function isMachine(path: string): boolean {
  return /^(core|plugins)\//.test(path) && (path.startsWith("core/control/") || path.endsWith("-machine.ts"));
}

const forbiddenGlobals = new Set([
  ...["performance", "process", "crypto", "navigator", "globalThis", "Bun", "Deno"],
  ...["setTimeout", "setInterval", "setImmediate", "queueMicrotask", "requestAnimationFrame"],
  ...["fetch", "WebSocket", "Worker", "console", "Atomics", "SharedArrayBuffer"],
  ...["Promise", "async", "await"],
]);

/** Mistakes in the text of one machine. */
export function machineMistakes(path: string, source: string): string[] {
  const tokens = tokensOf(source);
  const mistakes: string[] = [];
  const own = declared(tokens);
  for (const [i, token] of tokens.entries()) {
    const what = own.has(token.text) ? null : forbidden(tokens, i);
    if (what) mistakes.push(`${path}:${token.line} uses ${what}: a machine is told time, chance and events`);
  }
  return mistakes;
}

/**
 * Imports, followed through the tree, by which a machine would load something of the runtime. Types are no imports:
 * they are gone when it runs. `read` gives the source of a file, or null.
 */
export function impureImports(path: string, read: (path: string) => string | null): string[] {
  const mistakes: string[] = [];
  const seen = new Set<string>();
  const visit = (file: string, way: string[]) => {
    const source = seen.has(file) ? null : read(file);
    seen.add(file);
    if (source === null) return;
    for (const { specifier, typeOnly } of importsOf(source)) {
      if (typeOnly) continue;
      if (/^(node:|bun$|bun:)/.test(specifier)) {
        mistakes.push(`${path} imports ${specifier} by way of ${[...way, file].join(" → ")}`);
      } else if (specifier.startsWith(".")) {
        visit(join(dirname(file), specifier), [...way, file]);
      }
    }
  };
  visit(path, []);
  return mistakes;
}

/** Names that the file gives to things of its own: a supervisor's `process` is not the runtime's. */
function declared(tokens: Token[]): Set<string> {
  const names = new Set<string>();
  for (const [i, { kind, text }] of tokens.entries()) {
    if (kind !== "word") continue;
    const [before = "", after = ""] = [tokens[i - 1]?.text, tokens[i + 1]?.text];
    const variable = ["const", "let", "var", "function", "class"].includes(before);
    const parameter = ["(", ","].includes(before) && after === ":" && enclosing(tokens, i) === "(";
    if (variable || parameter || after === "=>") names.add(text);
  }
  return names;
}

/** The bracket that is open at this token. */
function enclosing(tokens: Token[], i: number): string | undefined {
  let depth = 0;
  for (let at = i - 1; at >= 0; at--) {
    const { kind, text } = tokens[at]!;
    if (kind !== "punctuation") continue;
    if (")]}".includes(text)) depth++;
    else if ("([{".includes(text) && depth-- === 0) return text;
  }
  return undefined;
}

/** What is used at this token that may not be; null when nothing. */
function forbidden(tokens: Token[], i: number): string | null {
  const token = tokens[i]!;
  if (token.kind !== "word" || isMember(tokens, i)) return null;
  const [dot, member] = [tokens[i + 1]?.text ?? "", tokens[i + 2]?.text ?? ""];
  if (token.text === "Math") {
    if (dot === "." && member !== "random") return null;
    return dot === "." ? "Math.random" : "Math as a value";
  }
  if (token.text === "Date") {
    const before = tokens[i - 1]?.text;
    if (before === ":" || before === "|" || before === "<") return null; // The type.
    if (dot === "." && member !== "now") return null;
    if (before === "new" && dot === "(" && member !== ")") return null; // A given time.
    return dot === "." ? "Date.now" : before === "new" ? "new Date() of now" : "Date()";
  }
  return forbiddenGlobals.has(token.text) ? token.text : null;
}

/** `x.process`, or the name of a property: `{ process: 1 }`, `process?: string`. */
function isMember(tokens: Token[], i: number): boolean {
  const before = tokens[i - 1]?.text ?? "";
  const after = tokens[i + 1]?.text ?? "";
  if (before === "." || before === "?.") return true;
  const declares = after === ":" || (after === "?" && tokens[i + 2]?.text === ":");
  return declares && ["{", ",", ";", "}", "readonly"].includes(before);
}
