/**
 * A configuration file as text, YAML or JSON (which is YAML too), and where each of its values stands, so that a
 * mistake is told with its line.
 */
import { readFileSync } from "node:fs";
import { isMap, isNode, LineCounter, parseDocument } from "yaml";
import { MiB } from "../core/limits.ts";
import { DvsError, type Issue } from "../core/errors.ts";

const fileBytesMax = 1 * MiB;

export interface ConfigDocument {
  /** As the person named it. */
  file: string;
  value: unknown;
  /** Line of the value at a path, or of the nearest thing around it. From 1. */
  line(path: readonly PropertyKey[]): number;
}

/** `file`: its name in messages. Throws NOT_FOUND, TOO_LARGE, or INVALID with every syntax error and its line. */
export function readConfigDocument(path: string, file = path): ConfigDocument {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (e) {
    throw new DvsError("NOT_FOUND", `Cannot read configuration file ${file}: ${(e as Error).message}`, {
      cause: e,
    });
  }
  return parseConfigDocument(file, text);
}

export function parseConfigDocument(file: string, text: string): ConfigDocument {
  if (text.length > fileBytesMax) {
    throw new DvsError(
      "TOO_LARGE",
      `Cannot read configuration file ${file}: it has ${text.length} characters, at most ${fileBytesMax} are read.`,
    );
  }
  const lines = new LineCounter();
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    version: "1.2",
  });
  const syntax = [...document.errors, ...document.warnings];
  if (syntax.length > 0) {
    const issues: Issue[] = syntax.map((e) => ({
      path: `${file}:${lines.linePos(e.pos[0]).line}`,
      message: e.message,
    }));
    throw new DvsError(
      "INVALID",
      `Invalid configuration file ${file}:\n${issues.map((i) => `  ${i.path}: ${i.message}`).join("\n")}`,
      { issues },
    );
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (e) {
    // Aliases that multiply to more than can be meant.
    throw new DvsError("INVALID", `Invalid configuration file ${file}: ${(e as Error).message}`, {
      cause: e,
    });
  }
  return {
    file,
    value,
    line(path) {
      for (let n = path.length; n > 0; n--) {
        const parent: unknown = n === 1 ? document.contents : document.getIn(path.slice(0, n - 1), true);
        const key = String(path[n - 1]);
        const start = isMap(parent)
          ? parent.items.find((pair) => String(isNode(pair.key) ? pair.key.toJSON() : pair.key) === key)?.key
          : document.getIn(path.slice(0, n), true);
        if (isNode(start) && start.range) return lines.linePos(start.range[0]).line;
      }
      return 1;
    },
  };
}
