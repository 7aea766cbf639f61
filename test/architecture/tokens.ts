/**
 * A source file as the tokens that the TypeScript scanner sees: comments are gone, strings and templates are one
 * token each (what is interpolated is code again), regular expressions are not taken for divisions.
 */
import { SyntaxKind } from "typescript/unstable/ast";
import { createScanner } from "typescript/unstable/ast/scanner";

export interface Token {
  kind: "word" | "string" | "punctuation" | "other";
  /** Of a string its value, of anything else its text. */
  text: string;
  line: number;
}

/** After these a slash divides; after anything else it begins a regular expression. */
const endsOperand = new Set<SyntaxKind>([
  SyntaxKind.Identifier,
  SyntaxKind.PrivateIdentifier,
  SyntaxKind.NumericLiteral,
  SyntaxKind.BigIntLiteral,
  SyntaxKind.StringLiteral,
  SyntaxKind.NoSubstitutionTemplateLiteral,
  SyntaxKind.TemplateTail,
  SyntaxKind.RegularExpressionLiteral,
  SyntaxKind.CloseParenToken,
  SyntaxKind.CloseBracketToken,
  SyntaxKind.CloseBraceToken,
  SyntaxKind.ThisKeyword,
  SyntaxKind.SuperKeyword,
  SyntaxKind.NullKeyword,
  SyntaxKind.TrueKeyword,
  SyntaxKind.FalseKeyword,
  SyntaxKind.PlusPlusToken,
  SyntaxKind.MinusMinusToken,
]);

export function tokensOf(source: string): Token[] {
  const scanner = createScanner(true, undefined, source);
  const tokens: Token[] = [];
  /** Open braces of each template that we are inside of. */
  const templates: number[] = [];
  let before = SyntaxKind.Unknown;
  for (;;) {
    let kind = scanner.scan();
    if (kind === SyntaxKind.EndOfFile) return tokens;
    if (
      (kind === SyntaxKind.SlashToken || kind === SyntaxKind.SlashEqualsToken) &&
      !endsOperand.has(before)
    ) {
      kind = scanner.reScanSlashToken();
    }
    if (kind === SyntaxKind.TemplateHead) templates.push(0);
    else if (templates.length > 0) {
      const last = templates.length - 1;
      if (kind === SyntaxKind.OpenBraceToken) templates[last]!++;
      else if (kind === SyntaxKind.CloseBraceToken && templates[last]!-- === 0) {
        kind = scanner.reScanTemplateToken(false);
        if (kind === SyntaxKind.TemplateTail) templates.pop();
        else templates[last] = 0;
      }
    }
    tokens.push({ ...describe(kind, scanner), line: lineOf(source, scanner.getTokenStart()) });
    before = kind;
  }
}

function describe(kind: SyntaxKind, scanner: ReturnType<typeof createScanner>): Omit<Token, "line"> {
  if (kind === SyntaxKind.StringLiteral || kind === SyntaxKind.NoSubstitutionTemplateLiteral) {
    return { kind: "string", text: scanner.getTokenValue() };
  }
  const text = scanner.getTokenText();
  // Keywords have to be words: `import`, `new`, `await`.
  if (/^[\p{ID_Start}$_]/u.test(text)) return { kind: "word", text };
  if (/^[^\w"'`/]/.test(text) || text === "/") return { kind: "punctuation", text };
  return { kind: "other", text };
}

function lineOf(source: string, position: number): number {
  let line = 1;
  for (let i = source.indexOf("\n"); i >= 0 && i < position; i = source.indexOf("\n", i + 1)) line++;
  return line;
}
