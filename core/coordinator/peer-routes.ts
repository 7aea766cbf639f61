/** What other coordinators of the cluster call, on the port that demands a certificate; answered also by who stands by. */
import { Hono } from "hono";
import { z } from "zod";
import { DvsError, parseOrThrow } from "../errors.ts";
import { handleFetch, manifestOf } from "../image/transfer.ts";
import type { BlobStore } from "../image/blob-store.ts";
import { digestsPerRequestMax } from "../limits.ts";
import { Digest } from "../names.ts";
import type { Identity } from "../trust/identity.ts";
import { errorAnswers } from "./api/errors.ts";
import type { ImageCopies } from "./image-copies.ts";
import type { Log } from "./log.ts";
import type { Member, Members } from "./members.ts";
import type { PeerHealth } from "./peers.ts";
import { read } from "./read.ts";

const FetchRequest = z.object({ digests: z.array(Digest).max(digestsPerRequestMax) });
const binary = { headers: { "content-type": "application/octet-stream" } };

export interface PeerRoutesOptions {
  clusterId: string;
  members: Members;
  blobs: BlobStore;
  copies: ImageCopies;
  health: () => PeerHealth;
  log: Log;
}

interface PeerEnv {
  Bindings: { identity: Identity };
  Variables: { peer: Member };
}

export function peerRoutes({ clusterId, members, blobs, copies, health, log }: PeerRoutesOptions) {
  const app = new Hono<PeerEnv>();
  errorAnswers(app, log);

  // One that was removed has a certificate for weeks, and is worth nothing.
  app.use(async (c, next) => {
    const { identity } = c.env;
    if (identity.kind !== "coordinator" || identity.clusterId !== clusterId) {
      throw new DvsError("FORBIDDEN", "Only coordinators of this cluster may call this.");
    }
    if (!members.get(identity.id)) await members.refresh();
    const peer = members.get(identity.id);
    if (!peer) throw new DvsError("FORBIDDEN", `Coordinator ${identity.id} is not in this cluster.`);
    c.set("peer", peer);
    return next();
  });

  app.get("/peer/v1/health", (c) => c.json(health()));
  app.get("/peer/v1/images/:digest/manifest", async (c) => {
    return new Response(await manifestOf(blobs, c.req.param("digest")), binary);
  });
  app.post("/peer/v1/blobs/fetch", async (c) => {
    const { digests } = await read(c, FetchRequest, "blob request");
    return new Response(handleFetch(blobs, digests), binary);
  });
  app.post("/peer/v1/images/:digest/take", async (c) => {
    const digest = parseOrThrow(Digest, c.req.param("digest"), "digest");
    await copies.take(c.get("peer"), digest, c.req.raw.signal);
    return c.json({});
  });
  return (request: Request, identity: Identity) => app.fetch(request, { identity });
}
