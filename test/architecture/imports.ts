/** What a file imports, of any form: import, export from, import(), import type. */
import { type Token, tokensOf } from "./tokens.ts";

export interface Import {
  specifier: string;
  line: number;
  /** Gone when it runs. */
  typeOnly: boolean;
  /** `import("…")`: loaded when it is needed, if ever. */
  lazy: boolean;
}

export function importsOf(source: string): Import[] {
  const tokens = tokensOf(source);
  const imports: Import[] = [];
  for (const [i, token] of tokens.entries()) {
    if (token.kind !== "word" || tokens[i - 1]?.text === ".") continue;
    if (token.text === "import" && tokens[i + 1]?.text === "(") {
      const argument = tokens[i + 2];
      if (argument?.kind === "string") imports.push(found(argument, false, true));
    } else if (token.text === "import" || token.text === "export") {
      const specifier = specifierOf(tokens, i + 1);
      if (specifier) imports.push(found(specifier, tokens[i + 1]?.text === "type", false));
    }
  }
  return imports;
}

function found({ text, line }: Token, typeOnly: boolean, lazy: boolean): Import {
  return { specifier: text, line, typeOnly, lazy };
}

/** The string after `from`, or right after `import`; undefined where the statement declares something. */
function specifierOf(tokens: Token[], start: number): Token | undefined {
  if (tokens[start - 1]?.text === "import" && tokens[start]?.kind === "string") return tokens[start];
  for (let i = start; i < tokens.length; i++) {
    const token = tokens[i]!;
    if (token.text === "from" && tokens[i + 1]?.kind === "string") return tokens[i + 1];
    // Only names, braces, commas and a star stand between the two.
    if (token.kind !== "word" && !["{", "}", ",", "*"].includes(token.text)) return undefined;
  }
  return undefined;
}
