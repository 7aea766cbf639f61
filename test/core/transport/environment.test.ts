/** Variables that weaken TLS in a whole process do not weaken dvs. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { secureEnvironment } from "../../../core/trust/environment.ts";
import { fingerprint } from "../../../core/trust/authority.ts";
import { coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import { authority, issued } from "../trust/lab.ts";
import { world } from "./link.ts";
import type { World } from "./link.ts";

let w: World;
let good: string;
let rogue: string;
let dir: string;

beforeAll(async () => {
  w = await world();
  const ca = await authority();
  good = (await w.serve()).address;
  rogue = (await w.serve({ ...(await issued(ca, coordinatorUri("c1", "k1"))), ca: ca.certificate })).address;
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
  writeFileSync(join(dir, "rogue.pem"), ca.certificate);
  // The client of the child: its own certificate would be accepted by either server.
  const either = await issued(ca, nodeUri("c1", "n1"));
  writeFileSync(join(dir, "either.json"), JSON.stringify(either));
});
afterAll(async () => {
  rmSync(dir, { recursive: true });
  await w.end();
});

async function child(variables: Record<string, string>, address: string, trust: object): Promise<string> {
  const identity = address === good ? w.node : JSON.parse(await Bun.file(join(dir, "either.json")).text());
  const input = JSON.stringify({ address, trust, identity });
  const process = Bun.spawn(
    [globalThis.process.execPath, "--no-install", join(import.meta.dir, "child", "request.ts")],
    {
      env: { ...globalThis.process.env, ...variables },
      stdin: Buffer.from(input),
      stdout: "pipe",
      stderr: "ignore",
    },
  );
  const text = await new Response(process.stdout).text();
  await process.exited;
  return text.trim();
}

describe("a rogue server is refused", () => {
  const weak: Record<string, () => Record<string, string>> = {
    "with NODE_TLS_REJECT_UNAUTHORIZED=0": () => ({ NODE_TLS_REJECT_UNAUTHORIZED: "0" }),
    "with NODE_EXTRA_CA_CERTS naming the rogue authority": () => ({
      NODE_EXTRA_CA_CERTS: join(dir, "rogue.pem"),
    }),
    "with both": () => ({ NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_EXTRA_CA_CERTS: join(dir, "rogue.pem") }),
  };
  for (const [name, variables] of Object.entries(weak)) {
    test(name, async () => {
      const before = w.seen.length;
      const ca = w.ca.certificate;
      expect(await child(variables(), rogue, { ca })).toStartWith("UNAUTHENTICATED");
      expect(await child(variables(), rogue, { pin: fingerprint(ca) })).toStartWith("UNAUTHENTICATED");
      expect(w.seen.length).toBe(before);
      // The child works: it is the server that was refused.
      expect(await child(variables(), good, { ca })).toBe("200");
    });
  }
});

test("a server does not let strangers in when it runs with NODE_TLS_REJECT_UNAUTHORIZED=0", async () => {
  const file = join(import.meta.dir, "child", "serve.ts");
  const process = Bun.spawn([globalThis.process.execPath, "--no-install", file], {
    env: { ...globalThis.process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" },
    stdout: "pipe",
    stderr: "ignore",
  });
  expect((await new Response(process.stdout).text()).trim()).toBe("none: UNAUTHENTICATED, rogue: refused");
  await process.exited;
});

test("secureEnvironment() removes the variable, for children too, and warns once", () => {
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  const warnings: string[] = [];
  secureEnvironment((m) => warnings.push(m));
  secureEnvironment((m) => warnings.push(m));
  expect(process.env["NODE_TLS_REJECT_UNAUTHORIZED"]).toBeUndefined();
  expect(warnings).toEqual([
    "Warning: NODE_TLS_REJECT_UNAUTHORIZED=0 is set and ignored: dvs never switches certificate checks off.",
  ]);
});
