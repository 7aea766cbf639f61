/** What the options say about how to reach the store, read from the files that they name. */
import { readFileSync } from "node:fs";
import { DvsError } from "../errors.ts";
import { openStore, type StoreAccess } from "../store/open.ts";
import type { Store } from "../store/store.ts";
import type { CoordinatorOptions } from "./options.ts";
import { join } from "node:path";

type Named = Pick<
  CoordinatorOptions,
  "dataDir" | "store" | "storeCa" | "storeCert" | "storeKey" | "storeUser" | "storePassword"
>;

/** Rejects with INVALID for what does not go together or cannot be read, and as `openStore` does. */
export async function openNamedStore(options: Named): Promise<Store> {
  return openStore(options.store ?? `sqlite:${join(options.dataDir, "store.db")}`, accessOf(options));
}

function accessOf({ storeCa, storeCert, storeKey, storeUser, storePassword }: Named): StoreAccess {
  if ((storeCert === undefined) !== (storeKey === undefined)) {
    throw new DvsError("INVALID", "Cannot open the store: --store-cert and --store-key go together.");
  }
  if ((storeUser === undefined) !== (storePassword === undefined)) {
    throw new DvsError(
      "INVALID",
      "Cannot open the store: a user and a password go together (DVS_COORDINATOR_STORE_PASSWORD).",
    );
  }
  if (storeCa === undefined && storeCert !== undefined) {
    throw new DvsError("INVALID", "Cannot open the store: --store-cert needs --store-ca.");
  }
  // Read at each new connection: certificates are renewed in place.
  const identity = () => ({
    certificate: read("--store-cert", storeCert!),
    key: read("--store-key", storeKey!),
  });
  if (storeCert !== undefined) identity();
  return {
    ...(storeCa === undefined
      ? {}
      : { tls: { ca: read("--store-ca", storeCa), ...(storeCert === undefined ? {} : { identity }) } }),
    ...(storeUser === undefined ? {} : { user: { name: storeUser, password: storePassword! } }),
  };
}

function read(flag: string, path: string): string {
  try {
    const text = readFileSync(path, "utf8");
    if (text.includes("-----BEGIN")) return text;
  } catch (e) {
    throw new DvsError("INVALID", `Cannot read ${flag} ${path}: ${(e as Error).message}`, { cause: e });
  }
  throw new DvsError("INVALID", `Cannot use ${flag} ${path}: it is not PEM.`);
}
