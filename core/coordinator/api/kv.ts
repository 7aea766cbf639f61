/** The key-value of an instance: read, written and watched through a node that has a replica of it. */
import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import type { z } from "zod";
import { KvPut } from "../../api/schema.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { kvListMax, MiB } from "../../limits.ts";
import { defaultTenant } from "../../names.ts";
import { KvAsk, KvEntriesJson, KvEventJson, KvResult, readKvLine } from "../../state/kv-ask.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { splitLog } from "../log-lines.ts";
import { keepAliveMs, type LineSource, ndjson } from "../ndjson.ts";
import { queryNumber, read } from "../read.ts";
import { Mailbox } from "../mailbox.ts";

const listLimits = { fallback: 100, min: 1, max: kvListMax };
const revisionLimits = { fallback: 0, min: 0, max: Number.MAX_SAFE_INTEGER };
/** A page of values of half a mebibyte each, as base64. */
const lineCharsMax = kvListMax * MiB;
const eventsAheadMax = 1_024;

export function kvRoutes(coordinator: Coordinator) {
  const { controller, sessions, signal } = coordinator;
  const app = new Hono<ApiEnv>();

  /** The first of the instance's nodes that answers. Rejects with NOT_FOUND, INVALID, UNAVAILABLE. */
  const open = async (name: string, ask: unknown, stop: AbortSignal) => {
    const checked = parseOrThrow(KvAsk, ask, "request");
    const view = controller.instanceView(defaultTenant, name);
    if (!view) {
      throw new DvsError("NOT_FOUND", `There is no instance ${JSON.stringify(name)}. See: dvs instance ls`);
    }
    if (!view.spec.state) {
      const message = `Instance "${name}" keeps no state: its VOS "${view.spec.os}" has no key-value.`;
      throw new DvsError("INVALID", message);
    }
    let error = new DvsError("UNAVAILABLE", `Cannot reach the state of instance "${name}": no node has it.`);
    for (const { node } of view.containers) {
      try {
        return await sessions.kvStream(node, { uid: view.uid, ask: checked }, stop);
      } catch (e) {
        if (!(e instanceof DvsError) || stop.aborted) throw e;
        error = e;
      }
    }
    throw error;
  };

  /** The one line of an answer. */
  const one = async <S extends z.ZodType>(schema: S, name: string, ask: unknown, stop: AbortSignal) => {
    const stream = await open(name, ask, stop);
    for await (const line of splitLog(stream, stop, lineCharsMax)) return readKvLine(schema, line);
    throw new DvsError(
      ask !== null && typeof ask === "object" && "client" in ask ? "OUTCOME_UNKNOWN" : "UNAVAILABLE",
      "The connection to the node broke before it had answered.",
    );
  };

  app.get("/v1/instances/:name/kv", async (c) => {
    const { name } = c.req.param();
    const key = c.req.query("key");
    const stop = AbortSignal.any([signal, c.req.raw.signal]);
    if (key !== undefined) {
      const { entries } = await one(KvEntriesJson, name, { what: "get", key }, stop);
      if (!entries[0]) {
        throw new DvsError("NOT_FOUND", `Instance "${name}" has no key ${JSON.stringify(key)}.`);
      }
      return c.json(entries[0]);
    }
    const after = c.req.query("after");
    const limit = queryNumber(c.req.query("limit"), "limit", listLimits);
    const prefix = c.req.query("prefix") ?? "";
    const ask = { what: "list", prefix, limit, ...(after !== undefined && { after }) };
    const { entries } = await one(KvEntriesJson, name, ask, stop);
    return c.json({ entries, next: entries.length === limit ? entries.at(-1)!.key : null });
  });

  app.put("/v1/instances/:name/kv", async (c) => {
    const { name } = c.req.param();
    const { value, ifRevision } = await read(c, KvPut, "value", 2 * MiB);
    const key = c.req.query("key") ?? "";
    const client = c.req.header("idempotency-key") ?? randomUUID();
    const ask = { what: "put", client, key, value, ...(ifRevision !== undefined && { ifRevision }) };
    // Not the request's own signal: what was begun comes to its end.
    return c.json(await one(KvResult, name, ask, signal));
  });

  app.delete("/v1/instances/:name/kv", async (c) => {
    const { name } = c.req.param();
    const key = c.req.query("key") ?? "";
    const wanted = c.req.query("ifRevision");
    const ifRevision = queryNumber(wanted, "ifRevision", revisionLimits);
    const client = c.req.header("idempotency-key") ?? randomUUID();
    const ask = { what: "delete", client, key, ...(wanted !== undefined && { ifRevision }) };
    return c.json(await one(KvResult, name, ask, signal));
  });

  app.get("/v1/instances/:name/kv/watch", async (c) => {
    const stopped = new AbortController();
    const stop = AbortSignal.any([signal, stopped.signal]);
    const wanted = c.req.query("after");
    const after = queryNumber(wanted, "after", revisionLimits);
    const ask = {
      what: "watch",
      prefix: c.req.query("prefix") ?? "",
      ...(wanted !== undefined && { after }),
    };
    const stream = await open(c.req.param("name"), ask, stop);
    return ndjson(events(stream, stopped), signal);
  });
  return app;
}

/** Events as they come, with keep-alives between. */
function events(stream: ReadableStream<Uint8Array>, stopped: AbortController): LineSource {
  const mailbox = new Mailbox<KvEventJson | Error>({ max: eventsAheadMax });
  const copy = async () => {
    try {
      for await (const line of splitLog(stream, stopped.signal, lineCharsMax)) {
        if (!(await mailbox.send(readKvLine(KvEventJson, line)))) return;
      }
    } catch (e) {
      await mailbox.send(e as Error);
    }
    mailbox.close();
  };
  async function* lines(): AsyncGenerator<KvEventJson | undefined> {
    void copy();
    for (;;) {
      const event = await mailbox.take(keepAliveMs);
      if (event === null) return;
      if (event instanceof Error) throw event;
      yield event;
    }
  }
  const stop = () => {
    stopped.abort();
    mailbox.close();
  };
  return { lines: lines(), stop };
}
