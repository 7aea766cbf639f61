/** Join tokens and API tokens. */
import { Hono } from "hono";
import { TokenId, TokenRequest, type TokenCreated, type TokenView } from "../../api/schema.ts";
import { DvsError, parseOrThrow } from "../../errors.ts";
import { tokenKeptMs } from "../../limits.ts";
import { keys, TokenRecord } from "../../records.ts";
import { settleTxn } from "../../store/settle.ts";
import type { Store } from "../../store/store.ts";
import { mintApiToken, mintJoinToken } from "../../trust/tokens.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { read } from "../read.ts";
import { isExpired, needs } from "./auth.ts";

export function tokenRoutes(coordinator: Coordinator) {
  const { store, cluster } = coordinator;
  const app = new Hono<ApiEnv>();
  app.use("/v1/tokens", needs("admin"));
  app.use("/v1/tokens/*", needs("admin"));

  app.get("/v1/tokens", async (c) => {
    const { kvs } = await store.range(keys.tokens);
    return c.json(kvs.map((kv) => view(TokenRecord.parse(JSON.parse(kv.value)))));
  });

  app.post("/v1/tokens", async (c) => {
    const request = await read(c, TokenRequest, "token request");
    const { caFingerprint } = cluster;
    // One that has come a moment ago belongs into the token, too.
    if (request.kind !== "api") await coordinator.members.refresh();
    const minted =
      request.kind !== "api"
        ? mintJoinToken(
            { addresses: coordinator.members.addresses("api"), caFingerprint },
            request.kind === "coordinator" ? "dvsc" : "dvsj",
          )
        : mintApiToken({ caFingerprint });
    const record: TokenRecord = {
      id: minted.id,
      kind: request.kind,
      description: request.description,
      secretHash: minted.secretHash,
      role: request.kind === "api" ? request.role : null,
      expiresAt:
        request.ttlSeconds === null ? null : new Date(Date.now() + request.ttlSeconds * 1000).toISOString(),
      usesLeft: request.kind === "join" ? request.uses : null,
      createdAt: new Date().toISOString(),
    };
    await settleTxn(store, {
      if: [{ key: keys.token(record.id), target: "create", op: "=", value: 0 }],
      then: [{ type: "put", key: keys.token(record.id), value: JSON.stringify(record) }],
    });
    const created: TokenCreated = { ...view(record), token: minted.token };
    return c.json(created, 201);
  });

  app.delete("/v1/tokens/:id", async (c) => {
    const id = c.req.param("id");
    if (id === c.get("tokenId")) {
      throw new DvsError("CONFLICT", "Cannot remove the token that this very request uses. Use another one.");
    }
    const key = keys.token(parseOrThrow(TokenId, id, "token id"));
    const result = await settleTxn(store, {
      if: [{ key, target: "create", op: ">", value: 0 }],
      then: [{ type: "delete", key }],
    });
    if (!result.succeeded) throw new DvsError("NOT_FOUND", `There is no token ${JSON.stringify(id)}.`);
    return c.body(null, 204);
  });
  return app;
}

function view(record: TokenRecord): TokenView {
  const { secretHash: _, ...rest } = record;
  return { ...rest, expired: isExpired(record) };
}

/**
 * Forgets tokens that can never be used again: used up, or expired for so long that nobody asks why they are refused.
 * Each start of a coordinator makes a join token, so they would pile up.
 */
export async function pruneTokens(store: Store, keptMs = tokenKeptMs): Promise<number> {
  const { kvs } = await store.range(keys.tokens);
  let pruned = 0;
  for (const kv of kvs) {
    const record = TokenRecord.parse(JSON.parse(kv.value));
    const expired = record.expiresAt !== null && Date.parse(record.expiresAt) + keptMs <= Date.now();
    const usedUp = record.usesLeft === 0 && Date.parse(record.createdAt) + keptMs <= Date.now();
    if (!expired && !usedUp) continue;
    const result = await store.txn({
      if: [{ key: kv.key, target: "mod", op: "=", value: kv.modRevision }],
      then: [{ type: "delete", key: kv.key }],
    });
    if (result.succeeded) pruned += 1;
  }
  return pruned;
}
