/**
 * Bodies of the HTTP API about coordinators:
 *
 *   POST   /v1/coordinators/join        CoordinatorJoinRequest → CoordinatorJoinAnswer (a coordinator token, no bearer)
 *   GET    /v1/coordinators             CoordinatorView
 *   DELETE /v1/coordinators/:id?force=  forgets one that is gone
 *   GET    /v1/store/backup             NDJSON: core/store/transfer.ts
 */
import { z } from "zod";
import { coordinatorsMax } from "../limits.ts";

/** On each answer of the API: `host:port` of every coordinator, separated by commas, for whoever keeps them. */
export const coordinatorsHeader = "x-dvs-coordinators";

export const CoordinatorId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$/, "must be a coordinator's id");

export const CoordinatorJoinRequest = z.object({
  id: z.string().regex(/^[0-9a-f]{12}$/, "must be 12 hex digits"),
  secret: z.string().max(256),
  coordinator: CoordinatorId,
  /** Where the others reach it, without a port. */
  host: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[A-Za-z0-9.:-]+$/, "must be an IP address or host name, without a port"),
  /** PEM. */
  csr: z.string().max(8_192),
});
export type CoordinatorJoinRequest = z.infer<typeof CoordinatorJoinRequest>;

export const CoordinatorJoinAnswer = z.object({
  /** PEM: of the store's authority, and the joining machine's own. */
  ca: z.string(),
  certificate: z.string(),
  /** `https://host:port` of the store's members. */
  endpoints: z.array(z.string()).min(1).max(coordinatorsMax),
});
export type CoordinatorJoinAnswer = z.infer<typeof CoordinatorJoinAnswer>;

export const CoordinatorView = z.object({
  id: z.string(),
  /** `host:port` of its API. */
  address: z.string(),
  acting: z.boolean(),
  /** `unknown`: the acting one has just taken over and has not heard of it yet. */
  state: z.enum(["up", "down", "unknown"]),
  version: z.string(),
  /** Of the images of the cluster, null where it does not answer. */
  imagesLacking: z.number().int().nullable(),
  /** Its member of the store with --ha, else null. */
  etcd: z.string().nullable(),
});
export type CoordinatorView = z.infer<typeof CoordinatorView>;
