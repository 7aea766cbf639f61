/** Answers what somebody outside asks of an instance's key-value. */
import type { z } from "zod";
import type { KeyValue, KvOptions } from "./client/key-value.ts";
import type { KvAsk, KvEntriesJson, KvEntryJson, KvEventJson } from "./kv-ask.ts";
import type { KvEntry } from "./modules/kv-messages.ts";

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
    case "watch":
      for await (const { revision: at, changes } of kv.watch(ask.prefix, ask.after, signal)) {
        const json = changes.map(({ key, value }) => ({ key, value: value && toBase64(value) }));
        yield { revision: at, changes: json } satisfies KvEventJson;
      }
  }
}

function entryJson({ key, value, revision: at, lease }: KvEntry): KvEntryJson {
  return { key, value: toBase64(value), revision: at, ...(lease !== undefined && { lease }) };
}

function optionsOf({
  ifRevision,
  timeoutMs,
}: {
  ifRevision?: number | undefined;
  timeoutMs: number;
}): KvOptions {
  return { timeoutMs, ...(ifRevision !== undefined && { ifRevision }) };
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
