/**
 * The module `files`: an instance's file system as a deterministic state machine, with the semantics of POSIX. Inodes,
 * names and the places of bytes are in tables (tables.ts); the bytes come with their write and go to the segments
 * beside the database, at places that are the same on each replica.
 *
 * Each operation is one file in operations/, which refuses before it changes anything: an errno is a result.
 */
import {
  type ApplyContext,
  type EpochContext,
  type Follower,
  type ModuleBlocks,
  ModuleRefusal,
  type OpenModule,
  type StateModule,
  type StateTables,
} from "../../state/module.ts";
import type { FileOperation, FileQuery, FileResult } from "../operations.ts";
import { GrantsFollower } from "./changes.ts";
import { Cleaning, move } from "./cleaning.ts";
import { checkedFollow, checkedQuery, decodeOperation, encodeOperation } from "./codec.ts";
import { attend, expire, reap } from "./operations/client.ts";
import { create } from "./operations/create.ts";
import { link as makeLink } from "./operations/link.ts";
import { cancelLock, lock } from "./operations/lock.ts";
import { joinOffset, leaveOffset, makeOffset, seekOffset, takeOffset } from "./operations/offset.ts";
import { open, release } from "./operations/open.ts";
import { put } from "./operations/put.ts";
import { setQuota } from "./operations/quota.ts";
import { removeDirectory, unlink } from "./operations/remove.ts";
import { rename } from "./operations/rename.ts";
import { seed } from "./operations/seed.ts";
import { setAttributes } from "./operations/set-attributes.ts";
import { write } from "./operations/write.ts";
import { attributes, entries, link, lockedBy, lookup, offset, usage } from "./queries.ts";
import { blob, extents, read } from "./reading.ts";
import { FileRefusal } from "./refusal.ts";
import { filesBackup } from "./backup.ts";
import { filesRestore, lastRestore } from "./restore.ts";
import { Scrubbing } from "./scrubbing.ts";
import { type Step, stepOf } from "./step.ts";
import { touchedBy } from "./touched.ts";
import { createVolume, openVolume, type Volume } from "./volume.ts";
import { queryKeys } from "./query-keys.ts";
import { attributesRow } from "./inodes.ts";
import { walk } from "./walk.ts";

export const files: StateModule = {
  name: "files",
  /** 2: `put`. */
  level: 2,
  create: createVolume,
  open: (tables, blocks) => new OpenFiles(tables, blocks),
  restore: filesRestore,
  backup: filesBackup,
};

class OpenFiles implements OpenModule {
  readonly #tables: StateTables;
  readonly #volume: Volume;
  readonly #blocks: ModuleBlocks | undefined;
  readonly #cleaning: Cleaning;
  readonly #scrubbing: Scrubbing;
  /** The record that restored it last. */
  #restored: number;
  /** When the last record was. */
  #timeMs = 0;
  /** The last record; one that is not behind it is carried out again, after its changes were undone. */
  #index = 0;

  constructor(tables: StateTables, blocks: ModuleBlocks | undefined) {
    this.#tables = tables;
    this.#restored = lastRestore(tables);
    this.#volume = openVolume(tables, blocks);
    this.#blocks = blocks;
    this.#cleaning = new Cleaning(tables, this.#volume, blocks);
    this.#scrubbing = new Scrubbing(tables);
  }

  encode(operation: unknown): Uint8Array {
    return encodeOperation(operation);
  }

  apply(encoded: Uint8Array, context: ApplyContext): FileResult {
    const operation = decodeOperation(encoded);
    return this.#changing(context, (step) => {
      try {
        if (levelOf(operation) > context.level) throw new ModuleRefusal("not all replicas know it yet");
        return this.#carryOut(operation, step);
      } catch (e) {
        if (e instanceof FileRefusal) return [e.code];
        throw e;
      }
    });
  }

  touched(encoded: Uint8Array): readonly string[] | null {
    try {
      return touchedBy(decodeOperation(encoded));
    } catch {
      return null; // What cannot be read may mean anything.
    }
  }

  epochStarted(context: EpochContext): void {
    if (context.lostAfter !== null) {
      this.#volume.changes.forget();
      this.#volume.locks.forget();
    }
    this.#changing(context, ({ timeMs }) => {
      this.#volume.counters.change().serving = timeMs;
    });
  }

  clientRemoved(client: string, context: Pick<ApplyContext, "index" | "timeMs">): void {
    this.#changing(context, (step) => this.#volume.clients.remove(client, step));
  }

  due(timeMs: number): Uint8Array | null {
    const { clients } = this.#volume;
    if (clients.isDue(timeMs)) return encodeOperation([34]);
    return this.#isToReap(timeMs) ? encodeOperation([32]) : null;
  }

  async work(): Promise<Uint8Array | null> {
    if (this.#isToReap(this.#timeMs)) return encodeOperation([32]);
    const moved = await this.#cleaning.next();
    return moved && encodeOperation(moved);
  }

  scrub(after: unknown, max: number): ReturnType<Scrubbing["step"]> {
    return this.#scrubbing.step(after, max);
  }

  follow(query: unknown): Follower {
    const checked = checkedFollow(query);
    if (checked[0] === "changes") return this.#volume.changes.follow(checked[1]);
    return new GrantsFollower(this.#volume.locks, checked[1], checked[2]);
  }

  /** A restore has: nothing of what was open, locked or followed is what it was. */
  tablesChanged(): void {
    const { counters, changes, locks } = this.#volume;
    counters.forget();
    const restored = lastRestore(this.#tables);
    if (restored === this.#restored) return;
    this.#restored = restored;
    changes.forget();
    locks.forget();
  }

  keysOf(query: unknown): readonly string[] | null {
    return queryKeys(this.#volume, checkedQuery(query));
  }

  read(query: unknown): FileResult | Promise<FileResult> {
    const checked = checkedQuery(query);
    try {
      return this.#answer(checked);
    } catch (e) {
      if (e instanceof FileRefusal) return [e.code];
      throw e;
    }
  }

  *rows(): Iterable<readonly (string | number | Uint8Array | null)[]> {
    const { inodes, entries: names, extents: places, segments, blobs, counters } = this.#volume;
    const { opens, locks, offsets, clients, seeds, reaper } = this.#volume;
    for (const part of [
      inodes,
      names,
      places,
      segments,
      blobs,
      opens,
      locks,
      offsets,
      clients,
      seeds,
      reaper,
    ]) {
      for (const row of part.rows()) yield Object.values(row as Row);
    }
    yield Object.values(counters.stored());
  }

  #changing<Result>(context: Pick<ApplyContext, "index" | "timeMs">, change: (step: Step) => Result): Result {
    const { counters, changes } = this.#volume;
    changes.began(context.index);
    this.#timeMs = context.timeMs;
    if (context.index <= this.#index) counters.forget();
    this.#index = context.index;
    try {
      const result = change(stepOf(context));
      counters.save();
      return result;
    } catch (e) {
      counters.forget();
      changes.began(context.index);
      throw e;
    }
  }

  #isToReap(timeMs: number): boolean {
    return this.#volume.clients.someAreGone || this.#volume.reaper.isDue(timeMs);
  }

  #carryOut(operation: FileOperation, step: Step): FileResult {
    const volume = this.#volume;
    switch (operation[0]) {
      case 1:
        return create(volume, operation, step);
      case 2:
        return makeLink(volume, operation, step);
      case 3:
        return unlink(volume, operation, step);
      case 4:
        return removeDirectory(volume, operation, step);
      case 5:
        return rename(volume, operation, step);
      case 6:
        return setAttributes(volume, operation, step);
      case 7:
        return write(volume, operation, step);
      case 8:
        return open(volume, operation, step);
      case 9:
        return release(volume, operation, step);
      case 10:
        return lock(volume, operation, step);
      case 11:
        return cancelLock(volume, operation, step);
      case 12:
        return makeOffset(volume, operation, step);
      case 13:
        return joinOffset(volume, operation, step);
      case 14:
        return takeOffset(volume, operation);
      case 15:
        return seekOffset(volume, operation);
      case 16:
        return leaveOffset(volume, operation, step);
      case 17:
        return attend(volume, operation, step);
      case 18:
        return setQuota(volume, operation);
      case 19:
        return seed(volume, operation, step);
      case 20:
        return put(volume, operation, step);
      case 32:
        return reap(volume, step);
      case 33:
        return move(volume, operation);
      case 34:
        return expire(volume, step);
    }
  }

  #answer(query: FileQuery): FileResult | Promise<FileResult> {
    const volume = this.#volume;
    switch (query[0]) {
      case "attributes":
        return attributes(volume, query);
      case "lookup":
        return lookup(volume, query);
      case "entries":
        return entries(volume, query);
      case "link":
        return link(volume, query);
      case "read":
        return read(volume, this.#blocks, query);
      case "extents":
        return extents(volume, query);
      case "blob":
        return blob(volume, query);
      case "lockedBy":
        return lockedBy(volume, query);
      case "offset":
        return offset(volume, query);
      case "usage":
        return usage(volume, this.#blocks);
      case "path":
        return ["", attributesRow(walk(volume, query[1], query[2], query[3] === 1))];
    }
  }
}

/** From which on it is carried out. */
function levelOf([number]: FileOperation): number {
  return number === 20 ? 2 : 1;
}

type Row = Record<string, string | number | Uint8Array | null>;
