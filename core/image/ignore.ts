/**
 * Patterns of files that stay out of an image, in the language of .gitignore: `#` comments, `!` takes back, a trailing
 * `/` means directories only, a `/` elsewhere ties the pattern to the root, `*` and `?` stay within a name, `**` does
 * not. The last pattern that matches decides. Read from `.dvsignore` in the root of the tree, and from there only.
 */

export const ignoreFile = ".dvsignore";

interface Rule {
  regex: RegExp;
  directoriesOnly: boolean;
  takesBack: boolean;
}

/** Whether a path (`/a/b`) is ignored. What lies in an ignored directory is never looked at. */
export type Ignore = (path: string, isDirectory: boolean) => boolean;

export function parseIgnore(lines: Iterable<string>): Ignore {
  const rules: Rule[] = [];
  for (const line of lines) {
    const rule = parseRule(line);
    if (rule) rules.push(rule);
  }
  return (path, isDirectory) => {
    let ignored = false;
    for (const rule of rules) {
      if (rule.takesBack !== ignored || (rule.directoriesOnly && !isDirectory)) continue;
      if (rule.regex.test(path)) ignored = !ignored;
    }
    return ignored;
  };
}

function parseRule(line: string): Rule | undefined {
  let pattern = line.replace(/\r$/, "").replace(/(?<!\\) +$/, "");
  if (pattern === "" || pattern.startsWith("#")) return undefined;
  const takesBack = pattern.startsWith("!");
  if (takesBack) pattern = pattern.slice(1);
  const directoriesOnly = pattern.endsWith("/");
  if (directoriesOnly) pattern = pattern.slice(0, -1);
  if (pattern === "") return undefined;
  const tied = pattern.includes("/");
  if (pattern.startsWith("/")) pattern = pattern.slice(1);
  return {
    regex: new RegExp(`^/${tied ? "" : "(?:.*/)?"}${translate(pattern)}$`, "su"),
    directoriesOnly,
    takesBack,
  };
}

function translate(pattern: string): string {
  let regex = "";
  for (let at = 0; at < pattern.length;) {
    const rest = pattern.slice(at);
    const atName = at === 0 || pattern[at - 1] === "/";
    const brackets = /^\[([!^]?)(\]?(?:\\.|[^\]\\])*)\]/su.exec(rest);
    if (atName && rest.startsWith("**/")) {
      regex += "(?:.*/)?";
      at += 3;
    } else if (atName && rest === "**") {
      regex += ".+";
      at += 2;
    } else if (rest.startsWith("*")) {
      regex += "[^/]*";
      at += /^\*+/.exec(rest)?.[0].length ?? 1;
    } else if (rest.startsWith("?")) {
      regex += "[^/]";
      at += 1;
    } else if (brackets) {
      const [whole, not, set] = brackets as unknown as [string, string, string];
      regex += `(?!/)[${not ? "^" : ""}${set.replace(/\\?([\s\S])/gu, (_, c: string) => (c === "-" ? "-" : quote(c)))}]`;
      at += whole.length;
    } else {
      const escaped = rest.startsWith("\\") && rest.length > 1;
      const character = String.fromCodePoint(rest.codePointAt(escaped ? 1 : 0) ?? 0);
      regex += quote(character);
      at += character.length + (escaped ? 1 : 0);
    }
  }
  return regex;
}

function quote(character: string): string {
  return /[\\^$.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}
