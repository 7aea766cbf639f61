/**
 * What somebody outside asks of an instance's key-value: as JSON from the HTTP API through an agent, which answers in
 * lines of JSON. Values are base64 there.
 */
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { kvListMax, kvValueBytesMax, stateTimeoutMs } from "../limits.ts";
import { KvKey, KvResult, KvWatch } from "./modules/kv-messages.ts";

const base64 = z
  .base64()
  .max(Math.ceil(kvValueBytesMax / 3) * 4, `a value has at most ${kvValueBytesMax} bytes`);
const revision = z.number().int().min(0);
/** Names whoever writes: a write that is sent again under its name is carried out once. */
const client = z.string().regex(/^[A-Za-z0-9-]{8,64}$/, "must be 8 to 64 letters, digits and -");
const timeoutMs = z.number().int().min(100).max(60_000).default(stateTimeoutMs);

export const KvAsk = z.discriminatedUnion("what", [
  z.object({ what: z.literal("get"), key: KvKey, timeoutMs }),
  z.object({
    what: z.literal("list"),
    prefix: z.string(),
    after: z.string().optional(),
    limit: z.number().int().min(1).max(kvListMax),
    timeoutMs,
  }),
  z.object({
    what: z.literal("put"),
    client,
    key: KvKey,
    value: base64,
    ifRevision: revision.optional(),
    timeoutMs,
  }),
  z.object({ what: z.literal("delete"), client, key: KvKey, ifRevision: revision.optional(), timeoutMs }),
  z.object({ what: z.literal("watch"), ...KvWatch.shape }),
]);
export type KvAsk = z.infer<typeof KvAsk>;

export const KvEntryJson = z.object({
  key: z.string(),
  value: z.base64(),
  revision,
  lease: z.string().optional(),
});
export type KvEntryJson = z.infer<typeof KvEntryJson>;

export const KvEventJson = z.object({
  revision,
  /** A value of null: the key was deleted. */
  changes: z.array(z.object({ key: z.string(), value: z.base64().nullable() })),
});
export type KvEventJson = z.infer<typeof KvEventJson>;

export const KvEntriesJson = z.object({ entries: z.array(KvEntryJson) });
export { KvResult };

/** One line of an answer. Throws the DvsError that it may be. */
export function readKvLine<S extends z.ZodType>(schema: S, line: string): z.output<S> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new DvsError("INTERNAL", "Cannot read a node's answer: it is no JSON.", { cause });
  }
  if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
  return schema.parse(json);
}
