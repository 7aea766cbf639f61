/**
 * The typed client of the HTTP API, used by the CLI and by anybody's program. Errors are the server's own DvsErrors;
 * what never got an answer is UNAVAILABLE, or OUTCOME_UNKNOWN where a change had been sent.
 */
import { z } from "zod";
import { DvsError } from "../errors.ts";
import type { ImageRemote } from "../image/transfer.ts";
import { streamSilentMs, transferStallMs } from "../limits.ts";
import { EventRecord, ImageRecord } from "../records.ts";
import { createClient, type Client } from "../transport/client.ts";
import { readLines } from "../transport/ndjson.ts";
import { RestoreAnswer } from "../state/backup/answer.ts";
import { parseApiToken } from "../trust/tokens.ts";
import { CoordinatorView, coordinatorsHeader } from "./coordinators.ts";
import {
  ImageView,
  InstancePage,
  InstanceView,
  KvPage,
  LogLine,
  MissingAnswer,
  NodeView,
  PluginView,
  Status,
  TokenCreated,
  TokenView,
  type ImageRequest,
  type InstanceRequest,
  type RecoverRequest,
  type FileMove,
  type KvPut,
  type MakeDirectory,
  type TokenRequest,
  type VolumeQuota,
} from "./schema.ts";
import {
  FileEntriesJson,
  FileEntryJson,
  FilesDoneJson,
  FilesUsageJson,
  PutLine,
} from "../files/remote/ask.ts";
import { KvEntryJson, KvEventJson, KvResult } from "../state/kv-ask.ts";
import { InstanceWatchEvent } from "./views.ts";

export interface ApiOptions {
  /** `host:port` of the coordinators. */
  addresses: string[];
  /** API token; it carries the fingerprint of the cluster's CA, so nothing else is needed to connect safely. */
  token: string;
  /** The CA itself, which spares the first connection of a pinned client. PEM. */
  ca?: string;
  /** For each request that does not stream, default 30 s. */
  timeoutMs?: number;
  /** Told with an answer where all coordinators are, when these are others than `addresses`. */
  onCoordinators?: (addresses: string[]) => void;
}

/** With several coordinators to choose from, one that does not even connect is left soon. */
const connectTimeoutMs = 1_500;

/** The longest that a timer can wait: an upload is watched by what moves. */
const uploadMsMax = 2 ** 31 - 1;

interface Call {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  /** In place of a body in JSON. */
  bytes?: Uint8Array;
  headers?: Record<string, string>;
  /** It may be sent again, to another coordinator, when its answer is lost. A GET always may. */
  idempotent?: boolean;
  signal?: AbortSignal;
}

export type Api = ReturnType<typeof createApi>;

export function createApi(options: ApiOptions) {
  const token = parseApiToken(options.token);
  const bare = createClient({
    addresses: options.addresses,
    trust: options.ca ? { ca: options.ca } : { pin: token.caFingerprint },
    headers: { authorization: `Bearer ${options.token}` },
    ...(options.addresses.length > 1 ? { connectTimeoutMs } : {}),
  });
  const client: Client = { ...bare, request: async (of) => noted(await bare.request(of), options) };
  const timeoutMs = options.timeoutMs ?? 30_000;
  const json = <S extends z.ZodType | null>(schema: S, method: string, path: string, call: Call = {}) =>
    requestJson(client, timeoutMs, schema, method, path, call);
  const lines = <S extends z.ZodType>(schema: S, path: string, call: Call = {}) =>
    requestLines(client, schema, path, call);
  const instance = (name: string) => `/v1/instances/${encodeURIComponent(name)}`;
  const node = (name: string) => `/v1/nodes/${encodeURIComponent(name)}`;

  return {
    status: () => json(Status, "GET", "/v1/status"),
    plugins: () => json(PluginView.array(), "GET", "/v1/plugins"),

    tokens: {
      create: (body: TokenRequest) => json(TokenCreated, "POST", "/v1/tokens", { body }),
      list: () => json(TokenView.array(), "GET", "/v1/tokens"),
      remove: (id: string) => json(null, "DELETE", `/v1/tokens/${encodeURIComponent(id)}`),
    },

    coordinators: {
      list: () => json(CoordinatorView.array(), "GET", "/v1/coordinators"),
      /** `force`: one that is not down, too. */
      remove: (id: string, force = false) =>
        json(null, "DELETE", `/v1/coordinators/${encodeURIComponent(id)}`, { query: { force } }),
    },

    nodes: {
      list: () => json(NodeView.array(), "GET", "/v1/nodes"),
      get: (name: string) => json(NodeView, "GET", node(name)),
      /** Starts draining; the record goes when nothing is placed on it any more. */
      leave: (name: string) => json(NodeView, "POST", `${node(name)}/leave`),
      remove: (name: string, force = false) => json(null, "DELETE", node(name), { query: { force } }),
    },

    instances: {
      /** `idempotencyKey` makes a repeated call answer with the instance that the first one made. */
      create: (body: InstanceRequest, idempotencyKey?: string) =>
        json(InstanceView, "POST", "/v1/instances", {
          body,
          ...(idempotencyKey ? { headers: { "idempotency-key": idempotencyKey } } : {}),
        }),
      get: (name: string) => json(InstanceView, "GET", instance(name)),
      page: (query: { limit?: number; after?: string } = {}) =>
        json(InstancePage, "GET", "/v1/instances", { query }),
      /** Every instance, page by page. */
      async list(): Promise<InstanceView[]> {
        const all: InstanceView[] = [];
        for (let after: string | undefined; ;) {
          const page = await this.page({ limit: 500, ...(after === undefined ? {} : { after }) });
          all.push(...page.instances);
          if (page.next === null) return all;
          after = page.next;
        }
      },
      remove: (name: string) => json(InstanceView, "DELETE", instance(name)),
      stop: (name: string) => json(InstanceView, "POST", `${instance(name)}/stop`),
      start: (name: string) => json(InstanceView, "POST", `${instance(name)}/start`),
      /** Refused with CONFLICT while a primary serves, and with FAILED and what is known without `acceptLoss`. */
      recover: (name: string, body: RecoverRequest) =>
        json(InstanceView, "POST", `${instance(name)}/recover`, { body }),
      /** Bytes of a backup (core/state/backup/format.ts), which tell at their end whether they are whole. */
      backup: (name: string, signal?: AbortSignal) => download(client, `${instance(name)}/backup`, signal),
      /** Its state becomes what the backup has. */
      restore: async (name: string, backup: ReadableStream<Uint8Array>, signal?: AbortSignal) => {
        const text = await upload(client, `${instance(name)}/restore`, backup, signal);
        // One that took long has its error where the answer would be.
        const json = attempt(() => JSON.parse(text) as unknown, "restore");
        if (json !== null && typeof json === "object" && "error" in json) throw DvsError.fromBody(json);
        return attempt(() => RestoreAnswer.parse(json), "restore");
      },
      /** First what is, then `synced`, then each change. Ends when the link does: call again. */
      watch: (query: { name?: string } = {}, signal?: AbortSignal) =>
        lines(InstanceWatchEvent, "/v1/instances/watch", { query, ...(signal ? { signal } : {}) }),
      /** Lines of JSON by node: the endpoints that are bound there. */
      endpoints: (name: string, signal?: AbortSignal) =>
        lines(LogLine, `${instance(name)}/endpoints`, signal ? { signal } : {}),
      /** Lines of JSON by node: messages from and to the endpoint, until `max` of each node or the signal. */
      trace: (name: string, query: { endpoint: number; max?: number }, signal?: AbortSignal) =>
        lines(LogLine, `${instance(name)}/trace`, { query, ...(signal ? { signal } : {}) }),
      logs: (
        name: string,
        query: { tail?: number; follow?: boolean; node?: string; file?: "container" | "access" } = {},
        signal?: AbortSignal,
      ) => lines(LogLine, `${instance(name)}/logs`, { query, ...(signal ? { signal } : {}) }),
    },

    kv: {
      /** Rejects with NOT_FOUND where there is no such key. */
      get: (name: string, key: string) =>
        json(KvEntryJson, "GET", `${instance(name)}/kv`, { query: { key } }),
      page: (name: string, query: { prefix?: string; after?: string; limit?: number } = {}) =>
        json(KvPage, "GET", `${instance(name)}/kv`, { query }),
      /** Carried out once for each idempotency key, however often it is sent. */
      put: (name: string, key: string, body: KvPut, idempotencyKey: string) =>
        json(KvResult, "PUT", `${instance(name)}/kv`, {
          query: { key },
          body,
          headers: { "idempotency-key": idempotencyKey },
          idempotent: true,
        }),
      delete: (name: string, key: string, ifRevision: number | undefined, idempotencyKey: string) =>
        json(KvResult, "DELETE", `${instance(name)}/kv`, {
          query: { key, ifRevision },
          headers: { "idempotency-key": idempotencyKey },
          idempotent: true,
        }),
      /** Changes after a revision, as they happen. */
      watch: (name: string, query: { prefix?: string; after?: number }, signal?: AbortSignal) =>
        lines(KvEventJson, `${instance(name)}/kv/watch`, { query, ...(signal ? { signal } : {}) }),
    },

    files: {
      /** A page of a directory, in an order of its own; of something else that alone. `node`: which one is to answer. */
      page: (name: string, query: { path: string; after?: number; limit?: number; node?: string }) =>
        json(FileEntriesJson, "GET", `${instance(name)}/files`, { query }),
      /** Rejects with NOT_FOUND where there is nothing. */
      attributes: (
        name: string,
        path: string,
        { follow = false, node: of }: { follow?: boolean; node?: string } = {},
      ) =>
        json(FileEntryJson, "GET", `${instance(name)}/files/attributes`, {
          query: { path, follow, node: of },
        }),
      usage: (name: string) => json(FilesUsageJson, "GET", `${instance(name)}/files/usage`),
      /** Frames of contents (core/files/remote/frames.ts), each file from `offset` on. Watched by whoever reads. */
      content: (
        name: string,
        paths: readonly string[],
        { offset = 0, node: of }: { offset?: number; node?: string } = {},
        signal?: AbortSignal,
      ) => {
        const query = [
          `offset=${offset}`,
          ...paths.map((path) => `path=${encodeURIComponent(path)}`),
          ...(of === undefined ? [] : [`node=${encodeURIComponent(of)}`]),
        ];
        return download(client, `${instance(name)}/files/content?${query.join("&")}`, signal);
      },
      /** Frames; sent again they do no more than once. */
      put: (name: string, frames: Uint8Array, signal?: AbortSignal) =>
        json(PutLine.array(), "POST", `${instance(name)}/files`, {
          bytes: frames,
          idempotent: true,
          ...(signal ? { signal } : {}),
        }),
      /** These are carried out once for each idempotency key, however often they are sent. */
      makeDirectory: (name: string, body: MakeDirectory, idempotencyKey: string) =>
        json(FilesDoneJson, "POST", `${instance(name)}/files/directory`, once(idempotencyKey, { body })),
      rename: (name: string, body: FileMove, idempotencyKey: string) =>
        json(FilesDoneJson, "POST", `${instance(name)}/files/rename`, once(idempotencyKey, { body })),
      remove: (
        name: string,
        query: { path: string; recursive: boolean; missing: boolean },
        idempotencyKey: string,
      ) => json(FilesDoneJson, "DELETE", `${instance(name)}/files`, once(idempotencyKey, { query })),
      quota: (name: string, body: VolumeQuota) =>
        json(FilesUsageJson, "POST", `${instance(name)}/files/quota`, { body, idempotent: true }),
      sync: async (name: string) => {
        await json(FilesDoneJson, "POST", `${instance(name)}/files/sync`, { idempotent: true });
      },
    },

    images: {
      list: () => json(ImageView.array(), "GET", "/v1/images"),
      get: (ref: string) => json(ImageView, "GET", `/v1/images/${encodeURIComponent(ref)}`),
      remove: (ref: string) => json(null, "DELETE", `/v1/images/${encodeURIComponent(ref)}`),
      /** Makes the pushed blobs an image; refused while one of them is missing. */
      commit: (body: ImageRequest, signal?: AbortSignal) =>
        json(ImageRecord, "POST", "/v1/images", { body, ...(signal ? { signal } : {}) }),
      /** What `pushImage` sends to. */
      remote: (): Pick<ImageRemote, "missing" | "upload"> => ({
        missing: async (digests, signal) => {
          const call = { body: { digests }, ...(signal ? { signal } : {}) };
          return (await json(MissingAnswer, "POST", "/v1/images/missing", call)).missing;
        },
        upload: async (pack, signal) => {
          await upload(client, "/v1/images/upload", pack, signal);
        },
      }),
    },

    /** The whole store, as core/store/transfer.ts takes it back. Cut short unless the last line has `keys`. */
    backup: (signal?: AbortSignal) =>
      lines(z.record(z.string(), z.unknown()), "/v1/store/backup", signal ? { signal } : {}),

    /** Newest last. With `follow`, goes on with what happens next. */
    events: (query: { limit?: number; follow?: boolean } = {}, signal?: AbortSignal) =>
      lines(EventRecord, "/v1/events", { query, ...(signal ? { signal } : {}) }),

    close: () => client.close(),
  };
}

function noted(response: Response, { addresses, onCoordinators }: ApiOptions): Response {
  const told = response.headers.get(coordinatorsHeader);
  const all = told ? told.split(",") : [];
  if (onCoordinators && all.length > 0 && all.toSorted().join() !== addresses.toSorted().join()) {
    onCoordinators(all);
  }
  return response;
}

async function requestJson<S extends z.ZodType | null>(
  client: Client,
  timeoutMs: number,
  schema: S,
  method: string,
  path: string,
  call: Call,
): Promise<S extends z.ZodType ? z.output<S> : void> {
  const response = await client.request({
    method,
    path: path + queryOf(call.query),
    headers: { ...typeOf(call), ...call.headers },
    ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
    ...(call.bytes === undefined ? {} : { body: call.bytes }),
    timeoutMs,
    // A change whose answer was lost is told as such: sent again, it may find that somebody else was faster.
    idempotent: call.idempotent ?? method === "GET",
    ...(call.signal ? { signal: call.signal } : {}),
  });
  const text = await response.text();
  if (!response.ok) throw errorOf(response.status, text);
  if (schema === null) return undefined as never;
  return attempt(() => schema.parse(JSON.parse(text)), `${method} ${path}`) as never;
}

function typeOf({ body, bytes }: Call): Record<string, string> {
  if (bytes) return { "content-type": "application/octet-stream" };
  return body === undefined ? {} : { "content-type": "application/json" };
}

/** It may be sent again. */
function once(idempotencyKey: string, call: Call): Call {
  return { ...call, headers: { "idempotency-key": idempotencyKey }, idempotent: true };
}

async function download(
  client: Client,
  path: string,
  signal?: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const response = await client.request({ method: "GET", path, ...(signal ? { signal } : {}) });
  if (!response.ok || !response.body) throw errorOf(response.status, await response.text());
  return response.body;
}

/** Such a stream has no size that a time could be given for: it fails when nothing of it moves. The answer's text. */
async function upload(
  client: Client,
  path: string,
  bytes: ReadableStream<Uint8Array>,
  signal?: AbortSignal,
): Promise<string> {
  const stalled = new AbortController();
  const watch = () =>
    setTimeout(
      () =>
        stalled.abort(new DvsError("UNAVAILABLE", `The upload stood still for ${transferStallMs / 1000} s.`)),
      transferStallMs,
    );
  let timer = watch();
  const moving = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, controller) {
      clearTimeout(timer);
      timer = watch();
      controller.enqueue(bytes);
    },
    flush() {
      // All is sent: from now on it is the disk of the coordinator that takes its time.
      clearTimeout(timer);
    },
  });
  try {
    const response = await client.request({
      method: "POST",
      path,
      headers: { "content-type": "application/octet-stream" },
      body: bytes.pipeThrough(moving),
      timeoutMs: uploadMsMax,
      signal: signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal,
    });
    const text = await response.text();
    if (!response.ok) throw errorOf(response.status, text);
    return text;
  } finally {
    clearTimeout(timer);
  }
}

async function* requestLines<S extends z.ZodType>(
  client: Client,
  schema: S,
  path: string,
  call: Call,
): AsyncGenerator<z.output<S>> {
  const response = await client.request({
    method: "GET",
    path: path + queryOf(call.query),
    ...(call.signal ? { signal: call.signal } : {}),
  });
  if (!response.ok || !response.body) throw errorOf(response.status, await response.text());
  for await (const line of readLines(unlessSilent(response.body, streamSilentMs))) {
    const value = attempt(() => JSON.parse(line) as unknown, `GET ${path}`);
    // An error in the middle of a stream is its last line.
    if (value !== null && typeof value === "object" && "error" in value) throw DvsError.fromBody(value);
    yield attempt(() => schema.parse(value), `GET ${path}`);
  }
}

/** The same body, failing when the other end sends nothing for so long: coordinators send an empty line each second. */
function unlessSilent(body: ReadableStream<Uint8Array>, silentMs: number): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const silence = new Promise<never>((_, reject) => {
        const message = `The coordinator's stream was silent for ${silentMs / 1000} s.`;
        timer = setTimeout(() => reject(new DvsError("UNAVAILABLE", message)), silentMs);
      });
      try {
        const { done, value } = await Promise.race([reader.read(), silence]);
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (e) {
        controller.error(e);
        void reader.cancel(e).catch(() => undefined);
      } finally {
        clearTimeout(timer);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** Throws INTERNAL when the answer cannot be parsed. */
function attempt<T>(parse: () => T, to: string): T {
  try {
    return parse();
  } catch (cause) {
    throw new DvsError(
      "INTERNAL",
      `Cannot read the coordinator's answer to ${to}: is it another version of dvs?`,
      { cause },
    );
  }
}

function errorOf(status: number, text: string): DvsError {
  try {
    return DvsError.fromBody(JSON.parse(text));
  } catch {
    return new DvsError("INTERNAL", `The coordinator answered ${status}: ${text.slice(0, 200)}`);
  }
}

function queryOf(query: Call["query"]): string {
  const pairs = Object.entries(query ?? {}).filter(([, v]) => v !== undefined);
  if (pairs.length === 0) return "";
  return `?${pairs.map(([k, v]) => `${k}=${encodeURIComponent(String(v))}`).join("&")}`;
}
