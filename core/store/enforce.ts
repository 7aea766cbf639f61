/**
 * The one place that refuses what not every driver could do, with the same words whichever driver is behind it.
 * What passes here works on memory, sqlite and etcd alike.
 */
import { Buffer } from "node:buffer";
import {
  leaseTtlSecondsMax,
  leaseTtlSecondsMin,
  storeKeyCharsMax,
  storeTxnBytesMax,
  storeValueBytesMax,
  txnOperationsMax,
} from "../limits.ts";
import type { Driver } from "./driver.ts";
import { StoreError, type Operation, type RangeOptions, type Store, type Txn } from "./store.ts";

/** The store of this driver with every argument checked. */
export function enforce(driver: Driver): Store {
  return new EnforcedStore(driver);
}

/** The driver behind a store: for what touches reserved keys (copy, restore). */
export function driverOf(store: Store): Driver {
  if (store instanceof EnforcedStore) return store.driver;
  throw new StoreError("INVALID", "Cannot reach the reserved keys of this store: it was not opened by dvs.");
}

class EnforcedStore implements Store {
  readonly driver: Driver;
  constructor(driver: Driver) {
    this.driver = driver;
  }

  async get(key: string) {
    checkKey(key);
    return this.driver.get(key);
  }
  async range(prefix: string, options: RangeOptions = {}) {
    checkRange(prefix, options);
    return this.driver.range(prefix || "/", options);
  }
  async txn(txn: Txn) {
    checkTxn(txn);
    return this.driver.txn(txn);
  }
  async *watch(prefix: string, fromRevision: number, signal: AbortSignal) {
    checkPrefix(prefix);
    checkRevision("watch from revision", fromRevision);
    yield* this.driver.watch(prefix || "/", fromRevision, signal);
  }
  async grant(ttlSeconds: number) {
    checkTtl(ttlSeconds);
    return this.driver.grant(ttlSeconds);
  }
  async keepAlive(lease: string) {
    checkLease(lease);
    return this.driver.keepAlive(lease);
  }
  async revoke(lease: string) {
    checkLease(lease);
    return this.driver.revoke(lease);
  }
  async compact(revision: number) {
    checkRevision("compact to revision", revision);
    return this.driver.compact(revision);
  }
  generation() {
    return this.driver.generation();
  }
  status() {
    return this.driver.status();
  }
  close() {
    return this.driver.close();
  }
}

/** Printable ASCII, so that code units, UTF-8 bytes and every database order keys alike. */
const keyPattern = /^\/[!-~]*$/;

function checkKey(key: string): void {
  if (key.length > storeKeyCharsMax) {
    refuse(`Cannot use a key of ${key.length} characters: at most ${storeKeyCharsMax} are allowed.`);
  }
  if (!keyPattern.test(key)) {
    refuse(`Cannot use key ${JSON.stringify(key)}: a key is "/" and printable ASCII characters.`);
  }
}

function checkPrefix(prefix: string): void {
  if (prefix !== "") checkKey(prefix);
}

function checkRange(prefix: string, { limit, after, revision }: RangeOptions): void {
  checkPrefix(prefix);
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit >= 1)) {
    refuse(`Cannot list ${limit} keys: the limit must be a whole number of at least 1.`);
  }
  if (after !== undefined) checkKey(after);
  if (revision !== undefined) checkRevision("read at revision", revision);
}

function checkRevision(what: string, revision: number): void {
  if (!Number.isSafeInteger(revision) || revision < 1) {
    refuse(`Cannot ${what} ${revision}: revisions are whole numbers from 1.`);
  }
}

function checkTtl(ttlSeconds: number): void {
  if (
    !Number.isSafeInteger(ttlSeconds) ||
    ttlSeconds < leaseTtlSecondsMin ||
    ttlSeconds > leaseTtlSecondsMax
  ) {
    refuse(
      `Cannot grant a lease of ${ttlSeconds} s: its time to live is in whole seconds from ${leaseTtlSecondsMin} to ${leaseTtlSecondsMax}.`,
    );
  }
}

function checkLease(lease: string): void {
  if (!/^[1-9][0-9]{0,18}$/.test(lease)) {
    refuse(`Cannot use lease ${JSON.stringify(lease)}: it is no id that grant() returned.`);
  }
}

function checkTxn(txn: Txn): void {
  checkBranch("then", txn, txn.then);
  checkBranch("else", txn, txn.else ?? []);
  let bytes = 0;
  for (const compare of txn.if) {
    checkKey(compare.key);
    bytes += compare.key.length;
    if (compare.target === "value") bytes += checkValue(compare.key, compare.value);
    else if (!Number.isSafeInteger(compare.value) || compare.value < 0) {
      refuse(
        `Cannot compare the ${compare.target} of key ${compare.key} with ${compare.value}: it must be a whole number from 0.`,
      );
    }
  }
  for (const operation of [...txn.then, ...(txn.else ?? [])]) {
    bytes += operation.key.length;
    if (operation.type === "put") bytes += checkValue(operation.key, operation.value);
  }
  if (bytes > storeTxnBytesMax) {
    refuse(`Cannot run a transaction of ${bytes} bytes: at most ${storeTxnBytesMax} are allowed. Split it.`);
  }
}

function checkBranch(name: "then" | "else", txn: Txn, operations: Operation[]): void {
  const count = txn.if.length + operations.length;
  if (count > txnOperationsMax) {
    refuse(
      `Cannot run a transaction of ${count} compares and operations in "${name}": at most ${txnOperationsMax} are allowed. Split it.`,
    );
  }
  const seen = new Set<string>();
  for (const operation of operations) {
    checkKey(operation.key);
    if (seen.has(operation.key)) {
      refuse(`Cannot name key ${operation.key} twice in "${name}" of one transaction.`);
    }
    seen.add(operation.key);
    if (operation.type === "put" && operation.lease !== undefined) checkLease(operation.lease);
  }
}

/** The value's size in bytes. */
function checkValue(key: string, value: string): number {
  if (!value.isWellFormed()) {
    refuse(
      `Cannot use this value of key ${key}: it holds half of a surrogate pair, which UTF-8 cannot carry.`,
    );
  }
  const bytes = Buffer.byteLength(value);
  if (bytes > storeValueBytesMax) {
    refuse(`Cannot use a value of ${bytes} bytes for key ${key}: at most ${storeValueBytesMax} are allowed.`);
  }
  return bytes;
}

function refuse(message: string): never {
  throw new StoreError("INVALID", message);
}
