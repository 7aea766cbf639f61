import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { DvsError } from "../../../core/errors.ts";
import {
  hashSecret,
  mintApiToken,
  mintJoinToken,
  parseApiToken,
  parseJoinToken,
  secretMatches,
} from "../../../core/trust/tokens.ts";

const caFingerprint = "ab".repeat(32);
const addresses = ["10.0.0.1:7070", "[fd00::1]:7070"];
const join = mintJoinToken({ addresses, caFingerprint });
const api = mintApiToken({ caFingerprint });

test("a token carries what is needed to connect safely, and only the hash of its secret is kept", () => {
  const parsed = parseJoinToken(join.token);
  expect(parsed).toMatchObject({ addresses, caFingerprint, id: join.id });
  expect(secretMatches(parsed.secret, join.secretHash)).toBe(true);
  const other = parseApiToken(api.token);
  expect(other).toMatchObject({ caFingerprint, id: api.id });
  expect(secretMatches(other.secret, api.secretHash)).toBe(true);
  expect(JSON.stringify(join).includes(parsed.secret)).toBe(false);
});

test("no two tokens share an id or a secret", () => {
  const many = Array.from({ length: 100 }, () => parseApiToken(mintApiToken({ caFingerprint }).token));
  expect(new Set(many.map((t) => t.id)).size).toBe(100);
  expect(new Set(many.map((t) => t.secret)).size).toBe(100);
});

test("another secret, a cut one and a broken hash do not match", () => {
  const { secret } = parseApiToken(api.token);
  expect(secretMatches(`${secret}x`, api.secretHash)).toBe(false);
  expect(secretMatches(secret.slice(1), api.secretHash)).toBe(false);
  expect(secretMatches("", api.secretHash)).toBe(false);
  expect(secretMatches(secret, "")).toBe(false);
  expect(secretMatches(secret, "zz")).toBe(false);
  expect(hashSecret(secret)).toBe(api.secretHash);
});

test("line breaks of a terminal in a pasted token do no harm", () => {
  const folded = join.token.replaceAll(/(.{40})/g, "$1\r\n  ");
  expect(parseJoinToken(` ${folded}\n`)).toEqual(parseJoinToken(join.token));
});

test("every cut of a token is refused, and the error does not show the secret", () => {
  for (let length = 0; length < join.token.length; length++) {
    const cut = join.token.slice(0, length);
    try {
      parseJoinToken(cut);
      throw new Error(`accepted ${length} characters`);
    } catch (e) {
      expect(e).toBeInstanceOf(DvsError);
      expect((e as DvsError).code).toBe("INVALID");
      if (length > 8) expect((e as DvsError).message.includes(cut)).toBe(false);
    }
  }
  expect(() => parseJoinToken(join.token.slice(0, -3))).toThrow("its end was cut off");
});

test("the wrong kind and a newer version say so", () => {
  expect(() => parseJoinToken(api.token)).toThrow("This is an API token, but a join token is needed");
  expect(() => parseApiToken(join.token)).toThrow("This is a join token, but an API token is needed");
  expect(() => parseJoinToken(join.token.replace("dvsj1", "dvsj2"))).toThrow("version 2");
  expect(() => parseJoinToken("hello")).toThrow("must begin with dvsj1.");
});

test("whatever is pasted, the answer is a token or INVALID", () => {
  const body = fc.oneof(
    fc.string(),
    fc.json().map((j) => `dvsj1.${Buffer.from(j).toString("base64url")}`),
    fc
      .record({ a: fc.anything(), c: fc.anything(), i: fc.anything(), s: fc.anything() })
      .map((o) => `dvsj1.${Buffer.from(JSON.stringify(o) ?? "").toString("base64url")}`),
  );
  fc.assert(
    fc.property(body, (text) => {
      try {
        parseJoinToken(text);
      } catch (e) {
        expect((e as DvsError).code).toBe("INVALID");
      }
    }),
  );
});
