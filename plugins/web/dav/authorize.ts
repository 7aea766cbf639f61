/**
 * Who may write: whoever knows one of the tokens, as a Bearer token or as the password of Basic, with any name. Options
 * hold the tokens' SHA-256 only, which says nothing about a random token.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Refusal } from "./answer.ts";

const charsMax = 1_024;

/** Throws a Refusal with 401. `tokens` null: anybody may. */
export function authorize(headers: Headers, tokens: readonly string[] | null): void {
  if (tokens === null) return;
  const token = tokenOf(headers.get("authorization") ?? "");
  if (token !== null) {
    const digest = createHash("sha256").update(token).digest();
    // Each is compared, whichever it is.
    const equal = tokens.map((known) => timingSafeEqual(Buffer.from(known, "hex"), digest));
    if (equal.includes(true)) return;
  }
  throw new Refusal(401, { headers: { "www-authenticate": 'Basic realm="uploads", charset="UTF-8"' } });
}

function tokenOf(header: string): string | null {
  if (header.length > charsMax) return null;
  const [, scheme = "", value = ""] = /^(\w+) +([A-Za-z0-9._~+/=-]+) *$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return value;
  if (scheme.toLowerCase() !== "basic") return null;
  const pair = Buffer.from(value, "base64").toString("utf8");
  const colon = pair.indexOf(":");
  return colon < 0 ? null : pair.slice(colon + 1);
}
