/**
 * Patterns over request paths. `*` stands for any characters but `/`, `**` for any at all; everything else stands for
 * itself. At most two wildcards, so that no path can make matching slow.
 */
const wildcardsMax = 2;
const wildcard = /\*\*?/g;

/** What the wildcards matched, in order; null when the path does not fit. */
export type Glob = (path: string) => string[] | null;

/** Throws an Error that says what is wrong with the pattern. */
export function compileGlob(pattern: string): Glob {
  if (!pattern.startsWith("/")) throw new Error("must begin with `/`");
  if ((pattern.match(wildcard) ?? []).length > wildcardsMax) {
    throw new Error(`must have at most ${wildcardsMax} wildcards`);
  }
  if (pattern.includes("***")) throw new Error("must not contain `***`");
  let source = "";
  let at = 0;
  for (const match of pattern.matchAll(wildcard)) {
    source += escape(pattern.slice(at, match.index)) + (match[0] === "*" ? "([^/]*)" : "(.*)");
    at = match.index + match[0].length;
  }
  const expression = new RegExp(`^${source}${escape(pattern.slice(at))}$`, "su");
  return (path) => expression.exec(path)?.slice(1) ?? null;
}

/** `$1` and `$2` in a template, replaced. */
export function substitute(template: string, captures: string[]): string {
  return template.replaceAll(/\$([1-9])/g, (_all, n: string) => captures[Number(n) - 1] ?? "");
}

function escape(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
