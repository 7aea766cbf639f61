/**
 * Backup, restore and copy of whole stores, between any two drivers. A backup is NDJSON: a first line that says what
 * it is, a line per key, and a last line with their number, so that a cut file is found.
 *
 * What is filled gets a higher generation than both: nobody who saw the old store takes the new one's lower
 * revisions for old news. Keys that hang on a lease are left out: their owners are not alive in the new store.
 */
import { DvsError } from "../errors.ts";
import { storeTxnBytesMax, txnOperationsMax } from "../limits.ts";
import { fillingKey, generationKey, generationOf } from "./driver.ts";
import { driverOf } from "./enforce.ts";
import { settleTxn } from "./settle.ts";
import type { Operation, Store } from "./store.ts";

const format = "dvs store";
const formatVersion = 1;
const pageKeys = 500;
/** Transactions stay well below the limit. */
const txnBytes = storeTxnBytesMax / 2;

interface Header {
  format: string;
  version: number;
  generation: number;
  revision: number;
}

export interface Filled {
  keys: number;
  generation: number;
}

/** The lines of a backup, without line ends: the store as of one revision. `skip`: keys that are this store's alone. */
export async function* backupStore(
  store: Store,
  skip: (key: string) => boolean = () => false,
): AsyncGenerator<string> {
  const { generation } = await store.status();
  let page = await store.range("", { limit: pageKeys });
  const { revision } = page;
  const header: Header = { format, version: formatVersion, generation, revision };
  yield JSON.stringify(header);
  let keys = 0;
  for (;;) {
    for (const { key, value, lease } of page.kvs) {
      if (lease !== null || skip(key)) continue;
      yield JSON.stringify({ key, value });
      keys += 1;
    }
    if (!page.more) break;
    page = await store.range("", { limit: pageKeys, after: page.kvs.at(-1)!.key, revision });
  }
  yield JSON.stringify({ keys });
}

/**
 * Fills an empty store from a backup. Throws DvsError INVALID when the store is not empty or the backup is not
 * whole; what was half filled then cannot be opened again.
 */
export async function restoreStore(to: Store, lines: AsyncIterable<string>): Promise<Filled> {
  const driver = driverOf(to);
  const iterator = lines[Symbol.asyncIterator]();
  const header = parseHeader(await nextLine(iterator));
  const { kvs } = await to.range("", { limit: 1 });
  if (kvs.length > 0 || (await driver.get(fillingKey))) {
    throw new DvsError("INVALID", "Cannot fill the store: it is not empty. Choose one that is.");
  }
  await write(driver, [{ type: "put", key: fillingKey, value: "1" }]);
  const keys = await fill(to, iterator);
  const generation = Math.max(header.generation, (await to.status()).generation) + 1;
  await write(driver, [
    { type: "put", key: generationKey, value: String(generation) },
    { type: "delete", key: fillingKey },
  ]);
  return { keys, generation };
}

/** The source must be at rest: what is written to it after the copy began stays behind. */
export function copyStore(from: Store, to: Store): Promise<Filled> {
  return restoreStore(to, backupStore(from));
}

/**
 * To be called after a store was put back by other means: an old store.db, a snapshot of etcd. Returns the new
 * generation, `atLeast` or more.
 */
export async function raiseGeneration(store: Store, atLeast = 0): Promise<number> {
  const driver = driverOf(store);
  for (;;) {
    const kv = await driver.get(generationKey);
    const generation = Math.max(atLeast, generationOf(kv?.value) + 1);
    const { succeeded } = await settleTxn(driver, {
      if: [{ key: generationKey, target: "mod", op: "=", value: kv?.modRevision ?? 0 }],
      then: [{ type: "put", key: generationKey, value: String(generation) }],
    });
    if (succeeded) return generation;
  }
}

async function fill(to: Store, lines: AsyncIterator<string>): Promise<number> {
  let operations: Operation[] = [];
  let bytes = 0;
  let keys = 0;
  for (;;) {
    const line = parseLine(await nextLine(lines));
    const size = "key" in line ? line.key.length + line.value.length * 3 : 0;
    if ("keys" in line || operations.length === txnOperationsMax || bytes + size > txnBytes) {
      if (operations.length > 0) await write(to, operations);
      operations = [];
      bytes = 0;
    }
    if ("keys" in line) {
      if (line.keys !== keys) throw damaged(`it says ${line.keys} keys and has ${keys}`);
      return keys;
    }
    operations.push({ type: "put", key: line.key, value: line.value });
    bytes += size;
    keys += 1;
  }
}

async function nextLine(lines: AsyncIterator<string>): Promise<string | undefined> {
  const next = await lines.next();
  return next.done ? undefined : next.value;
}

/** What is written here may be written twice: nobody else uses the store yet. */
async function write(store: Store, then: Operation[]): Promise<void> {
  await settleTxn(store, { if: [], then });
}

function parseHeader(line: string | undefined): Header {
  const header = parseJson(line ?? "") as Partial<Header>;
  if (header.format !== format || !Number.isSafeInteger(header.generation)) throw damaged("it is none");
  if (header.version !== formatVersion) {
    throw new DvsError(
      "INVALID",
      `Cannot read the backup: it has format ${header.version}, this dvs knows ${formatVersion}. Use the dvs that wrote it.`,
    );
  }
  return header as Header;
}

function parseLine(line: string | undefined): { key: string; value: string } | { keys: number } {
  if (line === undefined) throw damaged("its end is missing");
  const { key, value, keys } = parseJson(line) as Record<string, unknown>;
  if (typeof key === "string" && key.startsWith("/") && typeof value === "string") return { key, value };
  if (typeof keys === "number") return { keys };
  throw damaged(`it has a line that is no key: ${line.slice(0, 100)}`);
}

function parseJson(line: string): object {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // Reported below, like a number or a string.
  }
  throw damaged(`it has a line that is not JSON: ${line.slice(0, 100)}`);
}

function damaged(reason: string): DvsError {
  return new DvsError("INVALID", `Cannot read the backup: ${reason}. Take another one.`);
}
