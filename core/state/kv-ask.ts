/**
 * What somebody outside asks of an instance's key-value: as JSON from the HTTP API through an agent, which answers in
 * lines of JSON. Values are base64 there.
 */
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { kvLeaseTtlMsMax, kvListMax, kvValueBytesMax, stateTimeoutMs } from "../limits.ts";
import type { KeyValue, KvOptions } from "./client/key-value.ts";
import { type KvEntry, KvKey, KvResult, KvWatch } from "./modules/kv-messages.ts";

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
    lease: z.string().optional(),
    timeoutMs,
  }),
  z.object({ what: z.literal("delete"), client, key: KvKey, ifRevision: revision.optional(), timeoutMs }),
  z.object({ what: z.literal("watch"), ...KvWatch.shape }),
  z.object({
    what: z.enum(["grant", "keep", "revoke"]),
    client,
    lease: z.string(),
    ttlMs: z.number().int().min(1_000).max(kvLeaseTtlMsMax).default(10_000),
  }),
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

/** The answer, line by line; one line, but of `watch`. Throws what KeyValue throws. */
export async function* answerKv(kv: KeyValue, ask: KvAsk, signal: AbortSignal): AsyncGenerator<object> {
  switch (ask.what) {
    case "get": {
      const entry = await kv.get(ask.key, ask.timeoutMs);
      yield { entries: entry ? [entryJson(entry)] : [] } satisfies z.infer<typeof KvEntriesJson>;
      return;
    }
    case "list": {
      const { prefix, after, limit } = ask;
      const options = { limit, timeoutMs: ask.timeoutMs, ...(after !== undefined && { after }) };
      const entries = await kv.list(prefix, options);
      yield { entries: entries.map(entryJson) } satisfies z.infer<typeof KvEntriesJson>;
      return;
    }
    case "put":
      yield await kv.put(ask.key, new Uint8Array(Buffer.from(ask.value, "base64")), optionsOf(ask));
      return;
    case "delete":
      yield await kv.delete(ask.key, optionsOf(ask));
      return;
    case "grant":
      yield await kv.grant(ask.lease, ask.ttlMs);
      return;
    case "keep":
      yield await kv.keep(ask.lease);
      return;
    case "revoke":
      yield await kv.revoke(ask.lease);
      return;
    case "watch":
      for await (const { revision: at, changes } of kv.watch(ask.prefix, ask.after, signal)) {
        const json = changes.map(({ key, value }) => ({ key, value: value && toBase64(value) }));
        yield { revision: at, changes: json } satisfies KvEventJson;
      }
  }
}

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

function entryJson({ key, value, revision: at, lease }: KvEntry): KvEntryJson {
  return { key, value: toBase64(value), revision: at, ...(lease !== undefined && { lease }) };
}

function optionsOf(ask: {
  ifRevision?: number | undefined;
  lease?: string | undefined;
  timeoutMs: number;
}): KvOptions {
  const { ifRevision, lease } = ask;
  return {
    timeoutMs: ask.timeoutMs,
    ...(ifRevision !== undefined && { ifRevision }),
    ...(lease !== undefined && { lease }),
  };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
