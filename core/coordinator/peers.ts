/** Calls from one coordinator to another, by mutual TLS on the port where agents call too (peer-routes.ts). */
import { z } from "zod";
import { DvsError, parseOrThrow } from "../errors.ts";
import type { Remote } from "../image/remote.ts";
import { createClient, type Client, type ClientRequest } from "../transport/client.ts";
import type { TlsIdentity } from "../transport/dial.ts";
import type { PeerCheck } from "../transport/peer.ts";
import { uriOf } from "../trust/identity.ts";
import type { Member, Members } from "./members.ts";

const connectTimeoutMs = 1_000;
const healthTimeoutMs = 2_000;

export const PeerHealth = z.object({
  id: z.string(),
  version: z.string(),
  acting: z.boolean(),
  /** Images of the cluster that are not whole on its disk. */
  imagesLacking: z.number().int(),
});
export type PeerHealth = z.infer<typeof PeerHealth>;

export interface PeersOptions {
  clusterId: string;
  /** PEM. */
  ca: string;
  /** Of this coordinator, as it is now. */
  identity: () => TlsIdentity;
  members: Members;
}

export interface Peer {
  health(signal: AbortSignal): Promise<PeerHealth>;
  /** Asks it to bring an image to its disk from here; resolves when it has all of it. */
  takeImage(digest: string, signal: AbortSignal): Promise<void>;
  /** What it has. */
  images: Pick<Remote, "manifest" | "fetch">;
}

export class Peers {
  readonly #options: PeersOptions;
  readonly #clients = new Map<string, { address: string; client: Client }>();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  get members(): readonly Member[] {
    return this.#options.members.others;
  }

  /** Reads anew which there are. Throws StoreError. */
  refresh(): Promise<void> {
    return this.#options.members.refresh();
  }

  to(member: Member): Peer {
    const client = this.#client(member);
    return {
      async health(signal) {
        const response = await call(client, {
          method: "GET",
          path: "/peer/v1/health",
          signal,
          timeoutMs: healthTimeoutMs,
        });
        return parseOrThrow(PeerHealth, await response.json(), `health of coordinator ${member.id}`);
      },
      async takeImage(digest, signal) {
        const path = `/peer/v1/images/${encodeURIComponent(digest)}/take`;
        // It answers when it has it: how long that may take is for the caller's signal to say.
        const response = await call(client, {
          method: "POST",
          path,
          signal,
          idempotent: true,
          timeoutMs: 2 ** 31 - 1,
        });
        await response.body?.cancel();
      },
      images: {
        async manifest(digest, signal) {
          const path = `/peer/v1/images/${encodeURIComponent(digest)}/manifest`;
          const response = await call(client, { method: "GET", path, ...(signal ? { signal } : {}) });
          return new Uint8Array(await response.arrayBuffer());
        },
        async fetch(digests, signal) {
          const response = await call(client, {
            method: "POST",
            path: "/peer/v1/blobs/fetch",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ digests }),
            idempotent: true,
            ...(signal ? { signal } : {}),
          });
          if (!response.body) throw new DvsError("UNAVAILABLE", `Coordinator ${member.id} sent no blobs.`);
          return response.body;
        },
      },
    };
  }

  close(): void {
    for (const { client } of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #client(member: Member): Client {
    const known = this.#clients.get(member.id);
    if (known?.address === member.agents) return known.client;
    known?.client.close();
    const { ca, identity, clusterId } = this.#options;
    const client = createClient({
      addresses: [member.agents],
      trust: { ca },
      identity,
      checkPeer: coordinatorWithId(clusterId, member.id),
      connectTimeoutMs,
    });
    this.#clients.set(member.id, { address: member.agents, client });
    return client;
  }
}

/** Another one may have taken over its address. */
function coordinatorWithId(clusterId: string, id: string): PeerCheck {
  return (identity) =>
    identity.kind === "coordinator" && identity.clusterId === clusterId && identity.id === id
      ? null
      : `${uriOf(identity)}, not coordinator ${id} of cluster ${clusterId}`;
}

async function call(client: Client, request: ClientRequest): Promise<Response> {
  const response = await client.request(request);
  if (response.ok) return response;
  throw DvsError.fromBody(await response.json().catch(() => null));
}
