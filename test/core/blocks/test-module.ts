/**
 * A module that keeps pieces of bytes in segments, as a file system would: each where the last one ended, aligned, with
 * its checksum in a table. `drop` forgets all pieces of the oldest segments.
 */
import { crc32 } from "node:zlib";
import { Decoder, Encoder } from "@msgpack/msgpack";
import { DvsError } from "../../../core/errors.ts";
import {
  type ApplyContext,
  type ModuleBlocks,
  ModuleRefusal,
  type OpenModule,
  type ScrubRange,
  type StateModule,
  type StateTables,
} from "../../../core/state/module.ts";

export type PieceOperation =
  | { append: Uint8Array }
  /** It puts the bytes somewhere, and is refused. */
  | { refuse: Uint8Array }
  /** All segments below. */
  | { drop: number };

const align = 64;
const encoder = new Encoder();
const decoder = new Decoder();

export function piecesModule(segmentBytes: number): StateModule {
  return {
    name: "pieces",
    level: 1,
    create: (db) =>
      db.exec(`
        CREATE TABLE pieces_piece (
          id INTEGER PRIMARY KEY, segment INTEGER NOT NULL, position INTEGER NOT NULL,
          length INTEGER NOT NULL, checksum INTEGER NOT NULL, client TEXT NOT NULL
        ) STRICT;
        CREATE TABLE pieces_end (segment INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
        INSERT INTO pieces_end VALUES (1, 0);
      `),
    open: (db, blocks) => new Pieces(db, blocks, segmentBytes),
    backup: {
      ranges: (db, segment) =>
        rangesOf(db.prepare("SELECT * FROM pieces_piece WHERE segment = ?").all(segment) as unknown as Row[]),
      blobs: () => [],
    },
  };
}

interface Row {
  id: number;
  segment: number;
  position: number;
  length: number;
  checksum: number;
}

function rangesOf(rows: readonly Row[]): ScrubRange[] {
  return rows.map(({ segment, position, length, checksum }) => ({
    ...{ segment, position, length },
    isGood: (bytes: Uint8Array) => crc32(bytes) === checksum,
  }));
}

class Pieces implements OpenModule {
  readonly #db: StateTables;
  readonly #blocks: ModuleBlocks | undefined;
  readonly #segmentBytes: number;

  constructor(db: StateTables, blocks: ModuleBlocks | undefined, segmentBytes: number) {
    this.#db = db;
    this.#blocks = blocks;
    this.#segmentBytes = segmentBytes;
  }

  encode(operation: unknown): Uint8Array {
    return encoder.encode(operation);
  }

  apply(operation: Uint8Array, { index, client }: ApplyContext): unknown {
    const decoded = decoder.decode(operation) as PieceOperation;
    if ("drop" in decoded) return this.#drop(decoded.drop);
    if ("append" in decoded) return this.#append(decoded.append, index, client);
    this.#append(decoded.refuse, index, client);
    throw new ModuleRefusal("as asked");
  }

  #append(bytes: Uint8Array, id: number, client: string): number {
    let { segment, position } = this.#db.prepare("SELECT segment, position FROM pieces_end").get() as {
      segment: number;
      position: number;
    };
    if (position + bytes.length > this.#segmentBytes) {
      segment++;
      position = 0;
    }
    this.#blocks!.write(segment, position, bytes);
    this.#db
      .prepare("INSERT INTO pieces_piece VALUES (?, ?, ?, ?, ?, ?)")
      .run(id, segment, position, bytes.length, crc32(bytes), client);
    const end = Math.ceil((position + bytes.length) / align) * align;
    this.#db.prepare("UPDATE pieces_end SET segment = ?, position = ?").run(segment, end);
    return id;
  }

  #drop(below: number): number {
    const gone = this.#db
      .prepare("SELECT DISTINCT segment FROM pieces_piece WHERE segment < ? ORDER BY segment")
      .all(below) as { segment: number }[];
    for (const { segment } of gone) this.#blocks!.discard(segment);
    this.#db.prepare("DELETE FROM pieces_piece WHERE segment < ?").run(below);
    return gone.length;
  }

  touched(): readonly string[] | null {
    return ["pieces"];
  }

  clientRemoved(client: string): void {
    if (client !== "") this.#db.prepare("DELETE FROM pieces_piece WHERE client = ?").run(client);
  }

  keysOf(): readonly string[] | null {
    return ["pieces"];
  }

  /** A number: that piece, by a promise, null where there is none. Null: `[id, segment, position, length]` of all. */
  read(query: unknown): unknown {
    if (query === null) {
      const rows = this.#db
        .prepare("SELECT id, segment, position, length FROM pieces_piece ORDER BY id")
        .all();
      return rows.map((row) => Object.values(row));
    }
    const row = this.#db.prepare("SELECT * FROM pieces_piece WHERE id = ?").get(Number(query)) as
      { segment: number; position: number; length: number; checksum: number } | undefined;
    return row ? this.#bytes(row) : null;
  }

  async #bytes(row: {
    segment: number;
    position: number;
    length: number;
    checksum: number;
  }): Promise<Uint8Array> {
    const { segment, position, length, checksum } = row;
    const isGood = (bytes: Uint8Array): boolean => crc32(bytes) === checksum;
    const bytes =
      this.#blocks!.readNow?.(segment, position, length) ??
      (await this.#blocks!.read(segment, position, length).catch(() => null));
    if (bytes && isGood(bytes)) return bytes;
    if (this.#blocks!.repair) return this.#blocks!.repair(segment, position, length, isGood);
    throw new DvsError("FAILED", `bytes ${position} of segment ${segment} are wrong`);
  }

  scrub(after: unknown, max: number): { ranges: ScrubRange[]; next: unknown } {
    const rows = this.#db
      .prepare("SELECT * FROM pieces_piece WHERE id > ? ORDER BY id LIMIT ?")
      .all(Number(after ?? 0), max) as unknown as Row[];
    const ranges = rangesOf(rows);
    return { ranges, next: rows.length < max ? null : rows.at(-1)!.id };
  }

  *rows(): Iterable<readonly (string | number | Uint8Array | null)[]> {
    for (const row of this.#db.prepare("SELECT * FROM pieces_piece ORDER BY id").iterate())
      yield Object.values(row) as (string | number)[];
    yield Object.values(this.#db.prepare("SELECT * FROM pieces_end").get()!) as number[];
  }
}
