/** A store that fails as it is told to, in front of one that works. */
import { StoreError, type Store, type StoreErrorCode, type Txn } from "../../../core/store/store.ts";

export class FaultyStore implements Store {
  readonly #inner: Store;
  /** What transactions end with, and reads; null: they work. */
  txns: StoreErrorCode | null = null;
  reads: StoreErrorCode | null = null;
  /** Only these transactions fail. */
  which: (txn: Txn) => boolean = () => true;
  /** The next so many transactions are carried out, and their answers lost. */
  lostAnswers = 0;
  /** While set, watches deliver nothing. */
  held: Promise<void> | null = null;
  /** The next watch batch ends with this instead. */
  watchFails: StoreErrorCode | null = null;
  txnCount = 0;

  constructor(inner: Store) {
    this.#inner = inner;
  }

  async get(key: string) {
    this.#read();
    return this.#inner.get(key);
  }
  async range(...args: Parameters<Store["range"]>) {
    this.#read();
    return this.#inner.range(...args);
  }
  async generation() {
    this.#read();
    return this.#inner.generation();
  }
  async status() {
    this.#read();
    return this.#inner.status();
  }
  async txn(txn: Txn) {
    this.txnCount++;
    if (this.txns && this.which(txn)) throw new StoreError(this.txns, `told to fail: ${this.txns}`);
    const result = await this.#inner.txn(txn);
    if (this.lostAnswers > 0 && result.succeeded) {
      this.lostAnswers--;
      throw new StoreError("UNKNOWN_OUTCOME", "the answer was lost");
    }
    return result;
  }
  async *watch(...args: Parameters<Store["watch"]>) {
    for await (const batch of this.#inner.watch(...args)) {
      const code = this.watchFails;
      this.watchFails = null;
      if (code) throw new StoreError(code, "told to fail");
      if (this.held) await this.held;
      yield batch;
    }
  }
  grant(ttlSeconds: number) {
    return this.#inner.grant(ttlSeconds);
  }
  keepAlive(lease: string) {
    return this.#inner.keepAlive(lease);
  }
  revoke(lease: string) {
    return this.#inner.revoke(lease);
  }
  compact(revision: number) {
    return this.#inner.compact(revision);
  }
  close() {
    return this.#inner.close();
  }

  #read(): void {
    if (this.reads) throw new StoreError(this.reads, `told to fail: ${this.reads}`);
  }
}
