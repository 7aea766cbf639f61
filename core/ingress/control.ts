/**
 * What an agent and its node's ingress tell each other: NDJSON over the Unix socket `ingress.sock` in the node's
 * run directory (mode 0700). The ingress listens and survives the agent: without a link it goes on with the last
 * table.
 */
import { z } from "zod";
import { PortReport, Route } from "../agent-protocol.ts";

/** A route as one node's ingress sees it. */
export const IngressRoute = Route.extend({
  /** Unix socket (plain HTTP/1.1) of the container on this node; null where there is none or it is not ready. */
  local: z.object({ socket: z.string(), incarnation: z.string() }).nullable(),
});
export type IngressRoute = z.infer<typeof IngressRoute>;

/** The whole table; what is not named is closed. */
export const IngressTable = z.object({
  /** This node: its name goes into Forwarded, its address is where ports are opened. */
  node: z.object({ id: z.string(), name: z.string(), address: z.string() }),
  routes: z.array(IngressRoute),
  /** PEM. The node's own certificate, and the authority that signs containers. */
  tls: z.object({ certificate: z.string(), key: z.string(), ca: z.string() }),
});
export type IngressTable = z.infer<typeof IngressTable>;

export const UpstreamHealth = z.object({
  uid: z.string(),
  /** Id of the node, or this node's own for the local container. */
  node: z.string(),
  incarnation: z.string(),
  healthy: z.boolean(),
  reason: z.string(),
  requests: z.number().int(),
});
export type UpstreamHealth = z.infer<typeof UpstreamHealth>;

export const FromIngress = z.discriminatedUnion("type", [
  /** First line of each link. */
  z.object({ type: z.literal("hello"), pid: z.number().int(), incarnation: z.string() }),
  /** After each table, and after each change. */
  z.object({ type: z.literal("ports"), ports: z.array(PortReport) }),
  /** Every second while something changed. */
  z.object({
    type: z.literal("stats"),
    requests: z.number().int(),
    failures: z.number().int(),
    retries: z.number().int(),
    upstreams: z.array(UpstreamHealth),
  }),
]);
export type FromIngress = z.infer<typeof FromIngress>;

export const ToIngress = z.discriminatedUnion("type", [
  z.object({ type: z.literal("table"), table: IngressTable }),
  /** Accept nothing new, finish what is under way, then exit; after graceMs exit anyway. */
  z.object({ type: z.literal("stop"), graceMs: z.number().int() }),
]);
export type ToIngress = z.infer<typeof ToIngress>;
