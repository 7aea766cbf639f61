/**
 * A kind of configuration: its schema, what its environment variables are, and how its sources are brought
 * together. Whoever reads one gets every mistake at once.
 */
import { z } from "zod";
import { DvsError, type Issue } from "../core/errors.ts";
import type { ConfigDocument } from "./document.ts";
import { environmentLayer, type Field } from "./environment.ts";
import { isObject, type Layer, merge } from "./layers.ts";
import { type Mistake, mistakesOf } from "./mistakes.ts";

export interface ConfigKind<S extends z.ZodObject> {
  name: string;
  /** Prefix of its environment variables: `DVS_INSTANCE`. */
  prefix: string;
  schema: S;
  /** Fields that are text in the environment even where they look like a number or a list. */
  text: readonly string[];
  /** Fields of which one replaces the other: `--site` beats an `image` of the file. */
  exclusive?: readonly (readonly string[])[];
  /** Checks that the schema alone cannot make. */
  extra?(value: Record<string, unknown>): Promise<Mistake[]> | Mistake[];
}

export interface Sources {
  /** What the machine itself says, below everything. */
  defaults?: Layer;
  file?: ConfigDocument | undefined;
  env?: Record<string, string | undefined>;
  flags?: Layer | undefined;
}

/** The configuration that all sources make together. Throws INVALID with every mistake, each with its place. */
export async function readConfig<S extends z.ZodObject>(
  kind: ConfigKind<S>,
  sources: Sources,
): Promise<z.output<S>> {
  const layers: Layer[] = sources.defaults ? [sources.defaults] : [];
  if (sources.file) layers.push(fileLayer(sources.file));
  if (sources.env) layers.push(environmentLayer(kind.prefix, fieldsOf(kind), sources.env));
  if (sources.flags) layers.push(sources.flags);
  const merged = merge(withoutReplaced(layers, kind.exclusive ?? []));
  const mistakes = mistakesOf(kind.schema, merged.value);
  if (kind.extra && typeof merged.value === "object" && merged.value !== null) {
    mistakes.push(...(await kind.extra(merged.value as Record<string, unknown>)));
  }
  if (mistakes.length === 0) return kind.schema.parse(merged.value);
  const issues: Issue[] = mistakes.map((m) => ({ path: merged.name(m.path), message: m.message }));
  throw new DvsError(
    "INVALID",
    `Invalid ${kind.name} configuration:\n${issues.map((i) => `  ${i.path}: ${i.message}`).join("\n")}`,
    { issues },
  );
}

/** Environment variables of a kind, for the help and the README: [variable, description]. */
export function variables(kind: ConfigKind<z.ZodObject>): Field[] {
  return fieldsOf(kind);
}

/** A layer that sets one field of an exclusive group takes the others out of the layers below it. */
function withoutReplaced(layers: readonly Layer[], groups: readonly (readonly string[])[]): Layer[] {
  return layers.map((layer, i) => {
    if (!isObject(layer.value)) return layer;
    const replaced = groups.filter((group) =>
      layers
        .slice(i + 1)
        .some((above) => isObject(above.value) && group.some((f) => Object.hasOwn(above.value as object, f))),
    );
    const value = Object.fromEntries(
      Object.entries(layer.value).filter(([f]) => !replaced.some((g) => g.includes(f))),
    );
    return { ...layer, value };
  });
}

function fileLayer(document: ConfigDocument): Layer {
  return {
    value: document.value,
    name: (path) => {
      const place = `${document.file}:${document.line(path)}`;
      return path.length > 0 ? `${place} ${path.map(String).join(".")}` : place;
    },
  };
}

function fieldsOf(kind: ConfigKind<z.ZodObject>): Field[] {
  return Object.entries(kind.schema.shape)
    .filter(([name]) => name !== "kind")
    .map(([name, schema]) => ({
      name,
      type: kind.text.includes(name) ? "text" : isList(schema as z.ZodType) ? "list" : "yaml",
    }));
}

function isList(schema: z.ZodType): boolean {
  let at: z.ZodType = schema;
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault) at = at.unwrap() as z.ZodType;
  return at instanceof z.ZodArray;
}
