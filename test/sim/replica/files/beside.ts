/**
 * A program beside a replica, which reads its database and segments by itself where the guard allows it: the product's
 * LocalFiles, which keeps what it has read, over the simulated guard and disk.
 */
import { DatabaseSync } from "node:sqlite";
import { segmentName } from "../../../../core/blocks/segment-name.ts";
import { LocalFiles } from "../../../../core/files/client/local-files.ts";
import type { NearReader, NearState } from "../../../../core/files/client/near-reader.ts";
import { FileError } from "../../../../core/files/errno.ts";
import type { FileQuery, FileResult } from "../../../../core/files/operations.ts";
import { bucketsOf } from "../../../../core/state/buckets.ts";
import { isSame } from "../../../../core/state/keys.ts";
import type { ModuleBlocks, OpenModule } from "../../../../core/state/module.ts";
import type { Guard } from "../guard.ts";
import type { FilesStore } from "./files-store.ts";
import { filesInSmall } from "./files-state.ts";
import { rowOf } from "./results.ts";

export class Beside implements NearReader {
  readonly #store: FilesStore;
  readonly #files = new LocalFiles(this);
  #open: OpenBeside | null = null;

  constructor(store: FilesStore) {
    this.#store = store;
  }

  state(): NearState | null {
    if (this.#open?.guard.isVoid) this.close();
    const { node, path } = this.#store;
    if (!this.#open && node.guard && path) this.#open = new OpenBeside(this.#store, node.guard, path);
    return this.#open;
  }

  /** Null: ask the replica. */
  read(query: unknown): { result: FileResult } | null {
    const asked = query as FileQuery;
    try {
      switch (asked[0]) {
        case "attributes": {
          const found = this.#files.attributes(asked[1]);
          return found && { result: ["", rowOf(found)] };
        }
        case "lookup": {
          const found = this.#files.lookup(asked[2], asked[3]);
          return found && { result: ["", rowOf(found)] };
        }
        case "read": {
          const found = this.#files.read(asked[1], asked[2], asked[3]);
          if (!(found instanceof Promise)) return found && { result: ["", found] };
          // Nothing is there at once: its bytes are gone.
          found.catch(() => undefined);
          return null;
        }
        case "entries": {
          if (asked[4] === 1) return this.#read(asked);
          const found = this.#files.entries(asked[1], asked[2], asked[3]);
          const rows = found?.map(({ name, ino, kind, cookie }) => [name, ino, kind, cookie, null]);
          return rows ? { result: ["", rows] } : null;
        }
        default:
          return this.#read(asked);
      }
    } catch (e) {
      if (e instanceof FileError) return { result: [e.code] };
      throw e;
    }
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }

  /** As LocalReader.read. */
  #read(query: FileQuery): { result: FileResult } | null {
    if (!this.state()) return null;
    const module = this.#open!.module();
    const keys = module.keysOf(query);
    if (!keys || !this.#open!.allows(keys)) return null;
    const result = module.read(query) as FileResult;
    return isSame(keys, module.keysOf(query)) ? { result } : null;
  }
}

class OpenBeside implements NearState {
  readonly #store: FilesStore;
  readonly #guard: Guard;
  readonly #db: DatabaseSync;
  readonly #module: OpenModule;
  readonly guard: { readonly isVoid: boolean };
  readonly blocks: Pick<ModuleBlocks, "read" | "readNow">;

  constructor(store: FilesStore, guard: Guard, path: string) {
    this.#store = store;
    this.#guard = guard;
    this.guard = {
      get isVoid() {
        return store.node.guard !== guard || store.path !== path;
      },
    };
    this.#db = new DatabaseSync(path, { readOnly: true });
    const readNow = (segment: number, position: number, length: number): Uint8Array | null => {
      const bytes = store.blocks.file(segmentName(segment))?.read(position, length);
      return bytes?.length === length ? bytes : null;
    };
    this.blocks = { readNow, read: () => Promise.reject(new Error("it is not there")) };
    const none = (): never => {
      throw new Error("a program beside a replica only reads");
    };
    this.#module = filesInSmall.open(this.#db, { ...this.blocks, write: none, discard: none });
  }

  module(): OpenModule {
    return this.#module;
  }

  last(bucket: number): number {
    return this.#guard.last(bucket, this.#store.node.host.nowMs());
  }

  allows(keys: readonly string[]): boolean {
    return this.#guard.allows(bucketsOf(keys), this.#store.node.host.nowMs());
  }

  close(): void {
    this.#db.close();
  }
}
