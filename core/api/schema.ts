/**
 * Bodies of the HTTP API, one schema per request and answer: the server checks what comes in, the client what
 * comes back. Every error answers with an ErrorBody and the status of its code (core/errors.ts).
 *
 *   GET    /v1/status                          Status
 *   POST   /v1/join                            JoinRequest → JoinAnswer (a join token, no bearer)
 *   GET    /v1/tokens        POST, DELETE /:id  TokenView, TokenRequest → TokenCreated
 *   GET    /v1/nodes         GET /:name         NodeView
 *   POST   /v1/nodes/:name/leave                drains it, then removes it
 *   DELETE /v1/nodes/:name?force=               removes the record of a node that is down
 *   GET    /v1/instances?limit=&after=          page of InstanceView
 *   POST   /v1/instances                        InstanceRequest → InstanceView; header `idempotency-key`
 *   GET    /v1/instances/watch?name=            NDJSON of InstanceWatchEvent
 *   GET    /v1/instances/:name    DELETE, POST /:name/stop, POST /:name/start
 *   POST   /v1/instances/:name/recover          RecoverRequest → InstanceView: goes on from one replica's state
 *   GET    /v1/instances/:name/backup           its state as one stream (core/state/backup/format.ts)
 *   POST   /v1/instances/:name/restore          such a stream → RestoreAnswer
 *   GET    /v1/instances/:name/logs?tail=&follow=&node=&file=   NDJSON of LogLine
 *   GET    /v1/instances/:name/endpoints        NDJSON of LogLine, each line JSON: an endpoint
 *   GET    /v1/instances/:name/trace?endpoint=&max=   NDJSON of LogLine, each line JSON: a message
 *   GET    /v1/instances/:name/kv?key=          KvEntryJson, 404 where there is none
 *   GET    /v1/instances/:name/kv?prefix=&after=&limit=   page of KvEntryJson
 *   PUT    /v1/instances/:name/kv?key=          KvPut → KvResult; header `idempotency-key`
 *   DELETE /v1/instances/:name/kv?key=&ifRevision=        KvResult; header `idempotency-key`
 *   GET    /v1/instances/:name/kv/watch?prefix=&after=    NDJSON of KvEventJson
 *   GET    /v1/instances/:name/files?path=&after=&limit=    FileEntriesJson: a directory's page, or the one file
 *   GET    /v1/instances/:name/files/attributes?path=&follow=   FileEntryJson
 *   GET    /v1/instances/:name/files/content?path=&path=&offset=   frames of files (core/files/remote/frames.ts)
 *   GET    /v1/instances/:name/files/usage                  FilesUsageJson
 *   POST   /v1/instances/:name/files                        frames of files → [PutLine]; may be sent again
 *   DELETE /v1/instances/:name/files?path=&recursive=&missing=   FilesDoneJson; header `idempotency-key`
 *   POST   /v1/instances/:name/files/directory, /rename     MakeDirectory, FileMove → FilesDoneJson; the same header
 *   POST   /v1/instances/:name/files/quota                  VolumeQuota → FilesUsageJson
 *   POST   /v1/instances/:name/files/sync                   ends when all that was written is on the disks
 *   GET    /v1/images        GET /:ref, DELETE /:ref
 *   POST   /v1/images/missing, /v1/images/upload, /v1/images   push: see core/image/transfer.ts
 *   GET    /v1/events?limit=&follow=            NDJSON of EventRecord
 *   GET    /v1/plugins                          the VOSes that this cluster can run
 */
import { z } from "zod";
import { digestsPerRequestMax } from "../limits.ts";
import { Digest, Labels, Name } from "../names.ts";
import { ImageRecord, InstanceSpec, Role, TokenRecord } from "../records.ts";
import { KvEntryJson } from "../state/kv-ask.ts";
import { StateRequest } from "../state/policy.ts";
import { InstanceView, NodeView } from "./views.ts";

/** As core/trust/tokens.ts draws it. */
export const TokenId = z.string().regex(/^[0-9a-f]{12}$/, "must be 12 hex digits");

export const JoinRequest = z.object({
  id: TokenId,
  secret: z.string().max(256),
  /** PEM. The node's id is derived from its key, so that a join whose answer was lost can be repeated. */
  csr: z.string().max(8_192),
  name: Name,
  address: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[A-Za-z0-9.:-]+$/, "must be an IP address or host name, without a port"),
  labels: Labels.default({}),
  containersMax: z.number().int().min(0).default(0),
});
export type JoinRequest = z.input<typeof JoinRequest>;

export const JoinAnswer = z.object({
  nodeId: z.string(),
  clusterId: z.string(),
  certificate: z.string(),
  clusterCa: z.string(),
  workloadCa: z.string(),
  /** `host:port` of each coordinator's port for agents. */
  agentAddresses: z.array(z.string()),
});
export type JoinAnswer = z.infer<typeof JoinAnswer>;

export const TokenRequest = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("join"),
    description: z.string().max(200).default(""),
    /** Null: it never expires. */
    ttlSeconds: z.number().int().min(1).nullable().default(86_400),
    /** Null: any number of nodes. */
    uses: z.number().int().min(1).nullable().default(null),
  }),
  z.strictObject({
    kind: z.literal("coordinator"),
    description: z.string().max(200).default(""),
    ttlSeconds: z
      .number()
      .int()
      .min(1)
      .max(7 * 86_400)
      .default(86_400),
  }),
  z.strictObject({
    kind: z.literal("api"),
    description: z.string().max(200).default(""),
    ttlSeconds: z.number().int().min(1).nullable().default(null),
    role: Role,
  }),
]);
export type TokenRequest = z.input<typeof TokenRequest>;

export const TokenView = TokenRecord.omit({ secretHash: true }).extend({ expired: z.boolean() });
export type TokenView = z.infer<typeof TokenView>;

/** The only moment at which the whole token is shown. */
export const TokenCreated = TokenView.extend({ token: z.string() });
export type TokenCreated = z.infer<typeof TokenCreated>;

export const InstanceRequest = z.strictObject({
  name: Name,
  /** What is left out of `state` is completed by the coordinator, for a VOS that keeps any. */
  spec: InstanceSpec.extend({ state: StateRequest.nullable().default(null) }).strict(),
});
export type InstanceRequest = z.input<typeof InstanceRequest>;

/** Goes on with the state that the replica on one node has; what others have beyond it is lost. */
export const RecoverRequest = z.strictObject({
  /** Name of the node. */
  from: Name,
  acceptLoss: z.boolean().default(false),
});
export type RecoverRequest = z.input<typeof RecoverRequest>;

export const InstancePage = z.object({
  instances: z.array(InstanceView),
  /** Give it as `after` for the next page; null at the end. */
  next: z.string().nullable(),
});
export type InstancePage = z.infer<typeof InstancePage>;

/** Never what could be a digest. */
export const ImageName = z
  .string()
  .max(128, "must have at most 128 characters")
  .regex(/^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$/, "must be lower-case letters, digits and inner . _ / : -")
  .refine((name) => !name.startsWith("sha256:"), "must not look like a digest");
/** Each may be taken from another image, which is one operation of the transaction. */
const imageNamesMax = 32;

export const ImageRequest = z.strictObject({
  digest: Digest,
  names: z.array(ImageName).max(imageNamesMax).default([]),
});
export type ImageRequest = z.input<typeof ImageRequest>;
export const ImageView = ImageRecord.extend({ usedBy: z.array(z.string()) });
export type ImageView = z.infer<typeof ImageView>;
export const MissingRequest = z.strictObject({ digests: z.array(Digest).max(digestsPerRequestMax) });
export const MissingAnswer = z.object({ missing: z.array(Digest) });

export const LogLine = z.object({ node: z.string(), line: z.string() });
export type LogLine = z.infer<typeof LogLine>;

export const PluginView = z.object({
  name: z.string(),
  summary: z.string(),
  image: z.enum(["required", "optional", "none"]),
  /** JSON Schema of its options. */
  options: z.record(z.string(), z.unknown()),
});
export type PluginView = z.infer<typeof PluginView>;

export const Status = z.object({
  clusterId: z.string(),
  version: z.string(),
  coordinator: z.object({ id: z.string(), address: z.string(), upMs: z.number(), runtime: z.string() }),
  store: z.object({ driver: z.string(), revision: z.number(), generation: z.number() }),
  nodes: z.object({ up: z.number(), down: z.number(), unknown: z.number() }),
  instances: z.record(z.string(), z.number()),
  /** In plain words, with advice. */
  warnings: z.array(z.string()),
});
export type Status = z.infer<typeof Status>;

export { InstanceView, NodeView };

/** A value of an instance's key-value, base64; only at that revision of the key, 0: only where there is none. */
export const KvPut = z.strictObject({
  value: z.base64(),
  ifRevision: z.number().int().min(0).optional(),
});
export type KvPut = z.infer<typeof KvPut>;

/** `parents`: those that are missing, too; one that is there is none to complain about then. */
export const MakeDirectory = z.strictObject({
  path: z.string(),
  mode: z.number().int().min(0).max(0o7777).default(0o755),
  parents: z.boolean().default(false),
});
export type MakeDirectory = z.input<typeof MakeDirectory>;

/** Into `to`, where that is a directory; without `replace` it is refused where there is something. */
export const FileMove = z.strictObject({
  path: z.string(),
  to: z.string(),
  replace: z.boolean().default(true),
});
export type FileMove = z.input<typeof FileMove>;

/** What is left out stays as it is. */
export const VolumeQuota = z.strictObject({
  bytesMax: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  inodesMax: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});
export type VolumeQuota = z.input<typeof VolumeQuota>;

export const KvPage = z.object({ entries: z.array(KvEntryJson), next: z.string().nullable() });
export type KvPage = z.infer<typeof KvPage>;
