/**
 * Who calls the API, and what the role allows. Roles: `viewer` reads; `operator` also changes instances and images;
 * `admin` also changes nodes and tokens.
 */
import type { MiddlewareHandler } from "hono";
import { DvsError } from "../../errors.ts";
import { keys, TokenRecord, type Role } from "../../records.ts";
import { parseApiToken, secretMatches } from "../../trust/tokens.ts";
import type { ApiEnv, Coordinator } from "../context.ts";

const rank: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

/** Checks the bearer token. Every failure reads the same, so that nobody learns which ids exist. */
export function authenticate(coordinator: Coordinator): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const header = c.req.header("authorization");
    if (!header?.startsWith("Bearer ")) {
      throw new DvsError("UNAUTHENTICATED", "An API token is needed: set DVS_TOKEN or give --token.");
    }
    const record = await findToken(coordinator, header.slice("Bearer ".length).trim());
    if (record?.kind !== "api" || record.role === null) {
      throw new DvsError("UNAUTHENTICATED", "The API token is not valid: it is unknown, revoked or expired.");
    }
    c.set("role", record.role);
    c.set("tokenId", record.id);
    await next();
  };
}

async function findToken(coordinator: Coordinator, text: string): Promise<TokenRecord | null> {
  let token;
  try {
    token = parseApiToken(text);
  } catch {
    return null;
  }
  const kv = await coordinator.store.get(keys.token(token.id));
  if (!kv) return null;
  const record = TokenRecord.parse(JSON.parse(kv.value));
  return secretMatches(token.secret, record.secretHash) && !isExpired(record) ? record : null;
}

export function isExpired(record: TokenRecord): boolean {
  return record.expiresAt !== null && Date.parse(record.expiresAt) <= Date.now();
}

/** Whatever is no reading needs an operator, so that no route can forget to ask. */
export const changesNeedOperator: MiddlewareHandler<ApiEnv> = async (c, next) => {
  // Hono answers HEAD with GET.
  if (c.req.method !== "GET" && c.req.method !== "HEAD") refuseBelow("operator", c.get("role"));
  await next();
};

/** Refuses callers below the role. */
export function needs(role: Role): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    refuseBelow(role, c.get("role"));
    await next();
  };
}

function refuseBelow(needed: Role, role: Role): void {
  if (rank[role] >= rank[needed]) return;
  throw new DvsError("FORBIDDEN", `This needs the role ${needed}; the token has the role ${role}.`);
}
