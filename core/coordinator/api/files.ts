/** The file system of an instance: looked at, read and written through a node that reaches a replica of it. */
import { randomUUID } from "node:crypto";
import { type Context, Hono } from "hono";
import type { z } from "zod";
import { FileMove, MakeDirectory, VolumeQuota } from "../../api/schema.ts";
import type { InstanceView } from "../../api/views.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import {
  FileEntriesJson,
  FileEntryJson,
  FilesAsk,
  FilesDoneJson,
  FilesUsageJson,
  type PutLine,
  PutLine as PutLineSchema,
} from "../../files/remote/ask.ts";
import { fileEntriesMax, MiB } from "../../limits.ts";
import { defaultTenant } from "../../names.ts";
import { readKvLine } from "../../state/kv-ask.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { splitLog } from "../log-lines.ts";
import { queryFlag, queryNumber, read } from "../read.ts";

const listLimits = { fallback: fileEntriesMax, min: 1, max: fileEntriesMax };
const offsetLimits = { fallback: 0, min: 0, max: Number.MAX_SAFE_INTEGER };
/** A page of entries with long names and links. */
const lineCharsMax = 16 * MiB;
const binary = { headers: { "content-type": "application/octet-stream" } };

interface How {
  stop: AbortSignal;
  /** Name of the node that is to answer. */
  node?: string | undefined;
  /** What a `put` brings. */
  body?: ReadableStream<Uint8Array>;
}

export function filesRoutes({ controller, sessions, signal }: Coordinator) {
  const app = new Hono<ApiEnv>();

  /** From the first of the instance's nodes that answers, or the one asked for. Rejects with NOT_FOUND, INVALID, UNAVAILABLE. */
  const open = async (name: string, given: unknown, { stop, node: only, body }: How) => {
    const ask = parseOrThrow(FilesAsk, given, "request");
    const view = controller.instanceView(defaultTenant, name);
    if (!view) {
      throw new DvsError("NOT_FOUND", `There is no instance ${JSON.stringify(name)}. See: dvs instance ls`);
    }
    if (!view.spec.state) {
      const message = `Instance "${name}" has no file system: its VOS "${view.spec.os}" keeps no state.`;
      throw new DvsError("INVALID", message);
    }
    let error = new DvsError(
      "UNAVAILABLE",
      `Cannot reach the files of instance "${name}": no node has them.`,
    );
    for (const node of nodesOf(view, only)) {
      try {
        return await sessions.filesStream(node, { uid: view.uid, ask }, stop, body);
      } catch (e) {
        if (!(e instanceof DvsError) || stop.aborted || body?.locked) throw e;
        error = e;
      }
    }
    throw error;
  };

  /** The one line of an answer. */
  const one = async <S extends z.ZodType>(schema: S, name: string, ask: { what: string }, how: How) => {
    const { stop } = how;
    const stream = await open(name, ask, how);
    for await (const line of splitLog(stream, stop, lineCharsMax)) return readKvLine(schema, line);
    throw new DvsError(
      "client" in ask ? "OUTCOME_UNKNOWN" : "UNAVAILABLE",
      "The connection to the node broke before it had answered.",
    );
  };

  /** Until whoever asks has gone. */
  const reading = (c: Context<ApiEnv>): How => ({
    stop: AbortSignal.any([signal, c.req.raw.signal]),
    node: c.req.query("node"),
  });

  app.get("/v1/instances/:name/files", async (c) => {
    const ask = {
      what: "list",
      path: c.req.query("path") ?? "/",
      after: queryNumber(c.req.query("after"), "after", offsetLimits),
      limit: queryNumber(c.req.query("limit"), "limit", listLimits),
    };
    return c.json(await one(FileEntriesJson, c.req.param("name"), ask, reading(c)));
  });

  app.get("/v1/instances/:name/files/attributes", async (c) => {
    const follow = queryFlag(c.req.query("follow"), "follow");
    const ask = { what: "attributes", path: c.req.query("path") ?? "/", follow };
    return c.json(await one(FileEntryJson, c.req.param("name"), ask, reading(c)));
  });

  app.get("/v1/instances/:name/files/usage", async (c) => {
    return c.json(await one(FilesUsageJson, c.req.param("name"), { what: "usage" }, reading(c)));
  });

  app.get("/v1/instances/:name/files/content", async (c) => {
    const offset = queryNumber(c.req.query("offset"), "offset", offsetLimits);
    const ask = { what: "give", paths: c.req.queries("path") ?? [], offset };
    return new Response(await open(c.req.param("name"), ask, reading(c)), binary);
  });

  app.post("/v1/instances/:name/files", async (c) => {
    const { body } = c.req.raw;
    if (!body) throw new DvsError("INVALID", "Files need a body that brings them.");
    const stop = AbortSignal.any([signal, c.req.raw.signal]);
    const lines: PutLine[] = [];
    const stream = await open(c.req.param("name"), { what: "put" }, { stop, body });
    for await (const line of splitLog(stream, stop, lineCharsMax))
      lines.push(readKvLine(PutLineSchema, line));
    const end = lines.at(-1);
    if (!end || !("frames" in end)) {
      throw new DvsError("UNAVAILABLE", "The connection to the node broke before it had answered.");
    }
    return c.json(lines);
  });

  // Not the requests' own signals: what was begun comes to its end.
  app.post("/v1/instances/:name/files/directory", async (c) => {
    const request = await read(c, MakeDirectory, "request");
    const ask = { what: "makeDirectory", client: keyOf(c), ...request };
    return c.json(await one(FilesDoneJson, c.req.param("name"), ask, { stop: signal }));
  });

  app.post("/v1/instances/:name/files/rename", async (c) => {
    const request = await read(c, FileMove, "request");
    const ask = { what: "rename", client: keyOf(c), ...request };
    return c.json(await one(FilesDoneJson, c.req.param("name"), ask, { stop: signal }));
  });

  app.post("/v1/instances/:name/files/quota", async (c) => {
    const ask = { what: "quota", ...(await read(c, VolumeQuota, "request")) };
    return c.json(await one(FilesUsageJson, c.req.param("name"), ask, { stop: signal }));
  });

  app.post("/v1/instances/:name/files/sync", async (c) => {
    return c.json(await one(FilesDoneJson, c.req.param("name"), { what: "sync" }, { stop: signal }));
  });

  app.delete("/v1/instances/:name/files", async (c) => {
    const path = c.req.query("path");
    if (path === undefined) throw new DvsError("INVALID", "Cannot remove: no path is given.");
    const recursive = queryFlag(c.req.query("recursive"), "recursive");
    const missing = queryFlag(c.req.query("missing"), "missing");
    const ask = { what: "remove", client: keyOf(c), path, recursive, missing };
    return c.json(await one(FilesDoneJson, c.req.param("name"), ask, { stop: signal }));
  });
  return app;
}

/** Those with a replica that serves first: they need no other node for a read. */
function nodesOf({ state, containers }: InstanceView, only: string | undefined): string[] {
  const serving = (state?.replicas ?? []).filter((replica) => replica.state === "ready" && replica.serving);
  const asked = [...serving, ...containers].filter(({ nodeName }) => only === undefined || nodeName === only);
  return [...new Set(asked.map(({ node }) => node))];
}

function keyOf(c: { req: { header(name: string): string | undefined } }): string {
  return c.req.header("idempotency-key") ?? randomUUID();
}
