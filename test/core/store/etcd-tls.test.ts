/** etcd over TLS with an authority of one's own, client certificates, and users with passwords. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openNamedStore } from "../../../core/coordinator/store-access.ts";
import { DvsError } from "../../../core/errors.ts";
import { openStore } from "../../../core/store/open.ts";
import { createAuthority, issueCertificate, type Authority } from "../../../core/trust/authority.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "./etcd-fixture.ts";

setDefaultTimeout(30_000);

async function identity(authority: Authority, ips: string[]) {
  const { key, csr } = await createKeyAndCsr("etcd");
  const uri = "spiffe://c-test/coordinator/etcd";
  return { key, certificate: await issueCertificate(authority, { csr, uri, ips, days: 1 }) };
}

async function codeOf(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => "none",
    (e: unknown) => (e instanceof DvsError ? e.code : String(e)),
  );
}

describe.skipIf(etcdMissing !== null)(`store on etcd over TLS${skipNote}`, () => {
  let dir: string;
  let etcd: EtcdCluster;
  let address: string;
  const file = (name: string, text: string) => {
    const path = join(dir, name);
    writeFileSync(path, text);
    return path;
  };
  let files: { ca: string; cert: string; key: string; stranger: string };

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "dvs-etcd-tls-"));
    const authority = await createAuthority("etcd");
    const server = await identity(authority, ["127.0.0.1"]);
    const client = await identity(authority, []);
    files = {
      ca: file("ca.pem", authority.certificate),
      cert: file("client.pem", client.certificate),
      key: file("client.key", client.key),
      stranger: file("stranger.pem", (await createAuthority("etcd")).certificate),
    };
    etcd = await startEtcd(1, {
      tls: {
        ca: files.ca,
        cert: file("server.pem", server.certificate),
        key: file("server.key", server.key),
        client,
        authority: authority.certificate,
      },
    });
    address = etcd.members[0]!.address;
  });
  afterAll(async () => {
    await etcd?.close();
    rmSync(dir, { recursive: true, force: true });
  });

  const named = (of: Record<string, string>) =>
    openNamedStore({ dataDir: dir, store: `etcds://${address}/tls`, ...of });

  test("is read, written and watched with a client's certificate", async () => {
    const store = await named({ storeCa: files.ca, storeCert: files.cert, storeKey: files.key });
    const done = new AbortController();
    const seen: string[] = [];
    const from = (await store.status()).revision + 1;
    const watching = (async () => {
      for await (const batch of store.watch("/w", from, done.signal)) {
        seen.push(...batch.events.map((e) => e.kv!.value));
        if (seen.length === 2) return;
      }
    })();
    for (const value of ["a", "b"]) {
      const { succeeded } = await store.txn({ if: [], then: [{ type: "put", key: "/w/k", value }] });
      expect(succeeded).toBe(true);
    }
    await watching;
    expect(seen).toEqual(["a", "b"]);
    done.abort();
    await store.close();
  });

  test("another authority's members are refused, and a coordinator without a certificate is told so", async () => {
    const two = { storeCert: files.cert, storeKey: files.key };
    const patient = [named({ storeCa: files.stranger, ...two }), named({ storeCa: files.ca })];
    expect(await Promise.all(patient.map(codeOf))).toEqual(["UNAVAILABLE", "UNAVAILABLE"]);
    expect(await codeOf(named({ storeCert: files.cert }))).toBe("INVALID");
    expect(await codeOf(named({ storeCa: join(dir, "none.pem") }))).toBe("INVALID");
    expect(await codeOf(named({}))).toBe("INVALID");
  });
});

describe.skipIf(etcdMissing !== null)(`store on etcd with users${skipNote}`, () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await startEtcd(1, { flags: ["--auth-token=simple"] });
    const post = (path: string, body: object) =>
      fetch(`http://${etcd.members[0]!.address}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
    await post("auth/user/add", { name: "root", password: "secret" });
    await post("auth/role/add", { name: "root" });
    await post("auth/user/grant", { user: "root", role: "root" });
    expect((await post("auth/enable", {})).ok).toBe(true);
  });
  afterAll(() => etcd?.close());

  test("goes on with a new token when a member takes the old one no longer", async () => {
    const store = await openStore(etcd.url(), { user: { name: "root", password: "secret" } });
    await store.txn({ if: [], then: [{ type: "put", key: "/k", value: "1" }] });
    // Simple tokens die with the member's process.
    await etcd.members[0]!.kill();
    etcd.members[0]!.start();
    const put = async () => {
      for (;;) {
        try {
          return await store.txn({ if: [], then: [{ type: "put", key: "/k", value: "2" }] });
        } catch {
          // It is starting.
        }
      }
    };
    expect((await put()).succeeded).toBe(true);
    expect((await store.get("/k"))?.value).toBe("2");
    await store.close();
  });

  test("a wrong password is told as one", async () => {
    const wrong = openStore(etcd.url(), { user: { name: "root", password: "no" } });
    expect(await wrong.catch((e: Error) => e.message)).toContain("etcd lets nobody in as root");
  });
});
