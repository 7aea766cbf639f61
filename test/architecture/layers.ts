/** Who may import whom: cli → configs → plugins → core, never back; nobody a plugin but the registry. */
import { dirname, join } from "node:path/posix";
import { importsOf } from "./imports.ts";
import { tokensOf } from "./tokens.ts";

const registry = "plugins/registry.ts";

/** Top-level folders that a file of a folder may import. */
const allowed: Record<string, readonly string[]> = {
  core: ["core"],
  plugins: ["plugins", "core"],
  configs: ["configs", "plugins", "core"],
  cli: ["cli", "configs", "plugins", "core"],
  bench: ["bench", "test", "cli", "configs", "plugins", "core"],
  test: ["test", "bench", "cli", "configs", "plugins", "core"],
};

/** Mistakes of one file, in words. `path` is relative to the root of the tree. */
export function layerMistakes(path: string, source: string): string[] {
  const [top = ""] = path.split("/");
  const mistakes: string[] = [];
  for (const { specifier, line } of importsOf(source)) {
    const wrong = (why: string) => mistakes.push(`${path}:${line} imports ${specifier}: ${why}`);
    if (!specifier.startsWith(".")) {
      const ofBun = specifier === "bun" || specifier.startsWith("bun:");
      if (ofBun && !mayUseRuntime(path)) wrong("only core/platform may use what one runtime has");
      continue;
    }
    const target = join(dirname(path), specifier);
    const [targetTop = ""] = target.split("/");
    if (target.startsWith("..")) wrong("it is outside of the tree");
    else if (targetTop.includes("."))
      continue; // A file of the root: package.json
    else if (allowed[top] && !allowed[top].includes(targetTop)) wrong(`${top} may not import ${targetTop}`);
    else if (targetTop === "plugins" && !mayImportPlugin(path, target)) {
      wrong(`only ${registry} imports plugins`);
    }
  }
  return mistakes;
}

/** Uses of the globals Bun and Deno outside of core/platform. */
export function runtimeMistakes(path: string, source: string): string[] {
  if (mayUseRuntime(path)) return [];
  const tokens = tokensOf(source);
  return tokens.flatMap((token, i) => {
    const names = token.kind === "word" && (token.text === "Bun" || token.text === "Deno");
    if (!names || tokens[i - 1]?.text === ".") return [];
    return [`${path}:${token.line} uses ${token.text}: only core/platform may`];
  });
}

function mayUseRuntime(path: string): boolean {
  return /^(core\/platform|test|bench)\//.test(path);
}

/** A plugin's own folder, or the registry; tests may look inside. */
function mayImportPlugin(path: string, target: string): boolean {
  if (/^(test|bench)\//.test(path) || path === registry || target === registry) return true;
  const own = /^plugins\/[^/]+\//.exec(path)?.[0];
  return own !== undefined && target.startsWith(own);
}
