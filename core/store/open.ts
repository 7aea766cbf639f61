/**
 * Opens the store that a URL names:
 * - `memory:` in this process, lost with it;
 * - `sqlite:/var/lib/dvs/store.db` in a file, for one coordinator;
 * - `etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/dvs` on etcd over plain HTTP, under a prefix, for several;
 * - `etcds://…` the same over TLS, with the authority, certificate and key that the options give.
 */
import { DvsError } from "../errors.ts";
import { fillingKey } from "./driver.ts";
import { driverOf } from "./enforce.ts";
import { toDvsError } from "./errors.ts";
import { openEtcdStore, type EtcdOptions } from "./etcd/etcd.ts";
import { openMemoryStore } from "./memory/memory.ts";
import { openSqliteStore } from "./sqlite/sqlite.ts";
import type { Store } from "./store.ts";

/**
 * Throws DvsError: INVALID for the URL, CONFLICT when another process has the file, UNAVAILABLE when etcd does not
 * answer, FAILED when the store holds a part of a copy.
 */
export async function openStore(url: string, access: StoreAccess = {}): Promise<Store> {
  const store = await open(url, access).catch((e: unknown) => {
    throw toDvsError(e);
  });
  const filling = await driverOf(store).get(fillingKey);
  if (!filling) return store;
  await store.close();
  throw new DvsError(
    "FAILED",
    `Cannot open the store ${url}: a copy into it was not completed. Empty it and copy again.`,
  );
}

export type StoreAccess = Pick<EtcdOptions, "tls" | "user" | "onGateway">;

async function open(url: string, access: StoreAccess): Promise<Store> {
  const [, scheme = "", rest = ""] = /^([a-z]+):(.*)$/s.exec(url) ?? [];
  switch (scheme) {
    case "memory":
      if (rest !== "") refuse(url, "memory: takes nothing behind the colon");
      return openMemoryStore();
    case "sqlite":
      return openSqliteStore(parseSqlitePath(url, rest));
    case "etcd":
      if (access.tls) refuse(url, "with certificates it must begin with etcds://");
      return openEtcdStore({ ...parseEtcd(url, rest), ...access });
    case "etcds":
      if (!access.tls)
        refuse(url, "TLS needs the authority that signed its certificates: give --store-ca FILE");
      return openEtcdStore({ ...parseEtcd(url, rest, "https"), ...access });
    default:
      return refuse(url, "it must begin with memory:, sqlite: or etcd:// (etcds:// for TLS)");
  }
}

function parseSqlitePath(url: string, rest: string): string {
  // Two slashes before an absolute path are one way to write it.
  const path = rest.replace(/^\/\/(?=\/)/, "");
  if (path === "" || path.endsWith("/") || path.startsWith("//") || path.includes("\0")) {
    refuse(url, "a path to a file is needed, as in sqlite:/var/lib/dvs/store.db");
  }
  return path;
}

/** Exported for tests of what is accepted. */
export function parseEtcd(url: string, rest: string, scheme: "http" | "https" = "http"): EtcdOptions {
  const [, hosts, path = ""] = /^\/\/([^/]+)(\/.*)?$/s.exec(rest) ?? [];
  if (hosts === undefined) {
    return refuse(url, "members are needed, as in etcd://10.0.0.1:2379,10.0.0.2:2379/dvs");
  }
  const prefix = path.replace(/\/+$/, "");
  if (!/^(\/[A-Za-z0-9._-]+)*$/.test(prefix)) {
    refuse(
      url,
      `the prefix ${JSON.stringify(path)} may have letters, digits, ".", "_", "-" and "/" between them`,
    );
  }
  const endpoints = hosts.split(",").map((host) => `${scheme}://${parseHost(url, host)}`);
  if (new Set(endpoints).size !== endpoints.length) refuse(url, "a member is named twice");
  return { endpoints, prefix };
}

function parseHost(url: string, host: string): string {
  const [, name, port] = /^([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):([0-9]{1,5})$/.exec(host) ?? [];
  if (name === undefined || !(Number(port) >= 1 && Number(port) <= 65_535)) {
    return refuse(url, `${JSON.stringify(host)} is no HOST:PORT`);
  }
  return `${name}:${Number(port)}`;
}

function refuse(url: string, reason: string): never {
  throw new DvsError("INVALID", `Cannot use ${JSON.stringify(url)} as a store: ${reason}.`);
}
