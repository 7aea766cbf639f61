/**
 * The three strings that people hand around.
 *
 *   dvsj1.…  join token: addresses of coordinators, the cluster authority's hash, and a secret. Makes a node.
 *   dvsc1.…  coordinator token: the same, and makes a coordinator with a part of the store: as good as the cluster itself.
 *   dvsa1.…  API token: the authority's hash and a secret. With an address it is all that a command needs.
 *
 * Both carry the hash so that the secret is only ever sent to a server that the cluster authority vouches for.
 * The coordinator keeps a hash of the secret: 32 random bytes need no salt and no slow hash.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { DvsError } from "../errors.ts";

export interface JoinToken {
  /** `host:port` of each coordinator's API. */
  addresses: string[];
  /** SHA-256 of the cluster authority's certificate, hex. */
  caFingerprint: string;
  id: string;
  secret: string;
}

export interface ApiToken {
  caFingerprint: string;
  id: string;
  secret: string;
}

/** What the coordinator needs of a new token: the record's id and hash, and the text to show once. */
export interface Minted {
  id: string;
  secretHash: string;
  token: string;
}

const kinds = { dvsj: "join token", dvsc: "coordinator token", dvsa: "API token" } as const;
const version = 1;

export function mintJoinToken(
  of: { addresses: string[]; caFingerprint: string },
  kind: "dvsj" | "dvsc" = "dvsj",
): Minted {
  const { id, secret } = draw();
  const token = encode(kind, { a: of.addresses, c: of.caFingerprint, i: id, s: secret });
  return { id, secretHash: hashSecret(secret), token };
}

export function mintApiToken(of: { caFingerprint: string }): Minted {
  const { id, secret } = draw();
  return {
    id,
    secretHash: hashSecret(secret),
    token: encode("dvsa", { c: of.caFingerprint, i: id, s: secret }),
  };
}

/** Throws INVALID that says what is wrong with the text, never showing it: it is a secret. */
export function parseJoinToken(text: string, kind: "dvsj" | "dvsc" = "dvsj"): JoinToken {
  const body = decode(kind, text);
  const addresses = body["a"];
  if (!Array.isArray(addresses) || addresses.length === 0 || !addresses.every((a) => typeof a === "string")) {
    throw broken(kind);
  }
  return { addresses, ...common(kind, body) };
}

export function parseApiToken(text: string): ApiToken {
  return common("dvsa", decode("dvsa", text));
}

export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** In a time that does not tell how much of it matched. */
export function secretMatches(secret: string, secretHash: string): boolean {
  const given = createHash("sha256").update(secret).digest();
  const wanted = Buffer.from(secretHash, "hex");
  return wanted.length === given.length && timingSafeEqual(given, wanted);
}

type Prefix = keyof typeof kinds;

function draw() {
  return { id: randomBytes(6).toString("hex"), secret: randomBytes(32).toString("base64url") };
}

function encode(prefix: Prefix, body: object): string {
  return `${prefix}${version}.${Buffer.from(JSON.stringify(body)).toString("base64url")}`;
}

function decode(prefix: Prefix, text: string): Record<string, unknown> {
  // A terminal's line breaks come along with a copied token.
  const m = /^(dvs[a-z])(\d+)\.([A-Za-z0-9_-]*)$/.exec(text.replaceAll(/\s+/g, ""));
  if (!m) {
    throw new DvsError(
      "INVALID",
      `Not a dvs ${kinds[prefix]}: it must begin with ${prefix}${version}. and have only letters, digits, - and _ after it.`,
    );
  }
  const given = kinds[m[1] as Prefix] ?? `token of kind ${m[1]}`;
  if (m[1] !== prefix) {
    const article = (kind: string) => (kind.startsWith("A") ? "an" : "a");
    const wanted = kinds[prefix];
    throw new DvsError(
      "INVALID",
      `This is ${article(given)} ${given}, but ${article(wanted)} ${wanted} is needed: one that begins with ${prefix}${version}.`,
    );
  }
  if (Number(m[2]) !== version) {
    throw new DvsError(
      "INVALID",
      `The ${given} has version ${m[2]}, this dvs reads version ${version}: use the dvs release of the cluster.`,
    );
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(m[3]!, "base64url").toString("utf8"));
  } catch {
    throw broken(prefix);
  }
  if (typeof body !== "object" || body === null) throw broken(prefix);
  return body as Record<string, unknown>;
}

function common(prefix: Prefix, body: Record<string, unknown>): ApiToken {
  const { c, i, s } = body;
  if (typeof c !== "string" || !/^[0-9a-f]{64}$/.test(c)) throw broken(prefix);
  if (typeof i !== "string" || !/^[0-9a-f]{12}$/.test(i)) throw broken(prefix);
  if (typeof s !== "string" || !/^[A-Za-z0-9_-]{43}$/.test(s)) throw broken(prefix);
  return { caFingerprint: c, id: i, secret: s };
}

function broken(prefix: Prefix): DvsError {
  return new DvsError(
    "INVALID",
    `The ${kinds[prefix]} is damaged: probably its end was cut off when it was copied. Paste the whole of it.`,
  );
}
