/** etcd's JSON: bytes in base64, 64-bit numbers as strings, fields that are zero left out. */
import { Buffer } from "node:buffer";
import { StoreError, type Compare, type KeyValue, type Operation, type Txn } from "../store.ts";

export interface WireKeyValue {
  key: string;
  value?: string;
  create_revision?: string;
  mod_revision: string;
  version?: string;
  lease?: string;
}

export interface WireHeader {
  header?: { revision?: string };
}

export interface WireRange extends WireHeader {
  kvs?: WireKeyValue[];
  more?: boolean;
}

export interface WireTxn extends WireHeader {
  succeeded?: boolean;
  responses?: { response_range?: WireRange }[];
}

/** Keys of one store inside an etcd that may serve others too. */
export class Wire {
  readonly #root: string;

  /** `root` comes before every key: "" or `/prefix`. */
  constructor(root: string) {
    this.#root = root;
  }

  key(key: string): string {
    return base64(this.#root + key);
  }

  kv(wire: WireKeyValue): KeyValue {
    return {
      key: this.keyOf(wire),
      value: text(wire.value ?? ""),
      createRevision: Number(wire.create_revision),
      modRevision: Number(wire.mod_revision),
      version: Number(wire.version),
      lease: wire.lease && wire.lease !== "0" ? wire.lease : null,
    };
  }

  keyOf(wire: WireKeyValue): string {
    return text(wire.key).slice(this.#root.length);
  }

  txn(txn: Txn): object {
    return {
      compare: txn.if.map((compare) => this.#compare(compare)),
      success: txn.then.map((operation) => this.#operation(operation)),
      failure: (txn.else ?? []).map((operation) => this.#operation(operation)),
    };
  }

  #compare(compare: Compare): object {
    const key = this.key(compare.key);
    const result = { "=": "EQUAL", "!=": "NOT_EQUAL", ">": "GREATER", "<": "LESS" }[compare.op];
    switch (compare.target) {
      case "value":
        return { key, result, target: "VALUE", value: base64(compare.value) };
      case "create":
        return { key, result, target: "CREATE", create_revision: String(compare.value) };
      case "mod":
        return { key, result, target: "MOD", mod_revision: String(compare.value) };
      case "version":
        return { key, result, target: "VERSION", version: String(compare.value) };
    }
  }

  #operation(operation: Operation): object {
    const key = this.key(operation.key);
    switch (operation.type) {
      case "put":
        return { request_put: { key, value: base64(operation.value), lease: operation.lease ?? "0" } };
      case "delete":
        return { request_delete_range: { key } };
      case "get":
        return { request_range: { key } };
    }
  }
}

export function revisionOf(answer: WireHeader): number {
  const revision = Number(answer.header?.revision);
  if (!Number.isSafeInteger(revision)) {
    throw new StoreError(
      "UNAVAILABLE",
      "Cannot read etcd's answer: it has no revision. Is this etcd 3.4 or newer?",
    );
  }
  return revision;
}

export function base64(s: string): string {
  return Buffer.from(s).toString("base64");
}

function text(s: string): string {
  return Buffer.from(s, "base64").toString();
}
