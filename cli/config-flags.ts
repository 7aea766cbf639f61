/** Flags as the topmost layer of a configuration, and `--file` as the one below the environment. */
import { resolve } from "node:path";
import type { ConfigDocument } from "../configs/document.ts";
import type { Layer } from "../configs/layers.ts";
import type { Io } from "./io.ts";

/** Field of the configuration → [flag, its value]. Undefined values and empty lists are left to the layers below. */
export function flagsLayer(flags: Record<string, readonly [flag: string, value: unknown]>): Layer {
  const value: Record<string, unknown> = {};
  for (const [field, [, given]] of Object.entries(flags)) {
    if (given !== undefined && !(Array.isArray(given) && given.length === 0)) value[field] = given;
  }
  return {
    value: Object.keys(value).length > 0 ? value : undefined,
    name: ([field, ...rest]) => {
      const flag = flags[String(field)]?.[0] ?? String(field);
      return rest.length > 0 ? `${flag} ${rest.map(String).join(".")}` : flag;
    },
  };
}

export async function readFile(io: Io, file: string | undefined): Promise<ConfigDocument | undefined> {
  if (file === undefined) return undefined;
  const { parseConfigDocument, readConfigDocument } = await import("../configs/document.ts");
  if (file === "-") return parseConfigDocument("(stdin)", await io.readStdin());
  return readConfigDocument(resolve(io.cwd, file), file);
}
