/**
 * What operations do to blocks, beside what they do to tables: it counts once the operation was carried out, and the
 * database keeps which segments there are and how long each is, as of the same record as everything else in it.
 */
import type { BlockStore } from "../blocks/block-store.ts";
import type { ModuleBlocks, StateStatement, StateTables } from "./module.ts";

type Action = { segment: number; position: number; bytes: Uint8Array } | { segment: number; bytes: null };

export class DatabaseBlocks implements ModuleBlocks {
  readonly store: BlockStore;
  readonly repair?: NonNullable<ModuleBlocks["repair"]>;
  readonly readBlob?: NonNullable<ModuleBlocks["readBlob"]>;
  readonly bytesFree?: NonNullable<ModuleBlocks["bytesFree"]>;
  readonly #put: StateStatement;
  readonly #remove: StateStatement;
  readonly #lengths: Map<number, number>;
  /** Not so in the table, as far as it is committed. */
  readonly #changed = new Set<number>();
  /** Of the operation that is being carried out. */
  #actions: Action[] = [];

  constructor(
    db: StateTables,
    store: BlockStore,
    other: Pick<ModuleBlocks, "repair" | "readBlob" | "bytesFree"> = {},
  ) {
    this.store = store;
    if (other.repair) this.repair = other.repair;
    if (other.readBlob) this.readBlob = other.readBlob;
    if (other.bytesFree) this.bytesFree = other.bytesFree;
    this.#put = db.prepare(
      "INSERT INTO segment VALUES (?, ?) ON CONFLICT (number) DO UPDATE SET length = excluded.length",
    );
    this.#remove = db.prepare("DELETE FROM segment WHERE number = ?");
    this.#lengths = new Map(segmentsIn(db));
  }

  /** Of those that are needed, as of now: how many bytes. */
  get lengths(): ReadonlyMap<number, number> {
    return this.#lengths;
  }

  write(segment: number, position: number, bytes: Uint8Array): void {
    this.#actions.push({ segment, position, bytes });
  }

  discard(segment: number): void {
    this.#actions.push({ segment, bytes: null });
  }

  read(segment: number, position: number, length: number): Promise<Uint8Array> {
    return this.store.read(segment, position, length);
  }

  /** By this record. */
  carriedOut(record: number): void {
    if (this.#actions.length === 0) return;
    for (const action of this.#actions) {
      const { segment } = action;
      this.#changed.add(segment);
      if (action.bytes) {
        const { position, bytes } = action;
        this.store.write(segment, position, bytes);
        this.#lengths.set(segment, Math.max(this.#lengths.get(segment) ?? 0, position + bytes.length));
      } else {
        this.store.discard(segment, record);
        this.#lengths.delete(segment);
      }
    }
    this.#actions = [];
  }

  refused(): void {
    this.#actions = [];
  }

  /** Into the table, in the open transaction; done again until it was committed. */
  save(): void {
    for (const segment of this.#changed) {
      const length = this.#lengths.get(segment);
      if (length === undefined) this.#remove.run(segment);
      else this.#put.run(segment, length);
    }
  }

  committed(): void {
    this.#changed.clear();
  }
}

/** `[number, bytes]`, ascending. */
export function segmentsIn(db: StateTables): [segment: number, length: number][] {
  const rows = db.prepare("SELECT number, length FROM segment ORDER BY number").all();
  return (rows as { number: number; length: number }[]).map(({ number, length }) => [number, length]);
}
