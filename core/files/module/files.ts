/**
 * The module `files`: an instance's file system as a deterministic state machine, with the semantics of POSIX. Inodes,
 * names and the places of bytes are in tables (tables.ts); the bytes come with their write and go to the segments
 * beside the database, at places that are the same on each replica.
 *
 * Each operation is one file in operations/, which refuses before it changes anything: an errno is a result.
 */
import { reapedPerStep } from "../../limits.ts";
import type {
  ApplyContext,
  ModuleBlocks,
  OpenModule,
  StateModule,
  StateTables,
} from "../../state/module.ts";
import type { FileOperation, FileQuery, FileResult } from "../operations.ts";
import { checkedQuery, decodeOperation, encodeOperation } from "./codec.ts";
import { create } from "./operations/create.ts";
import { link as makeLink } from "./operations/link.ts";
import { open, release } from "./operations/open.ts";
import { setQuota } from "./operations/quota.ts";
import { removeDirectory, unlink } from "./operations/remove.ts";
import { rename } from "./operations/rename.ts";
import { setAttributes } from "./operations/set-attributes.ts";
import { write } from "./operations/write.ts";
import { attributes, entries, link, lookup, usage } from "./queries.ts";
import { blob, extents, read } from "./reading.ts";
import { FileRefusal, refuse } from "./refusal.ts";
import { type Step, stepOf } from "./step.ts";
import { touchedBy } from "./touched.ts";
import { createVolume, openVolume, type Volume } from "./volume.ts";
import { queryKeys } from "./query-keys.ts";
import { attributesRow } from "./inodes.ts";
import { walk } from "./walk.ts";

export const files: StateModule = {
  name: "files",
  level: 1,
  create: createVolume,
  open: (tables, blocks) => new OpenFiles(tables, blocks),
};

class OpenFiles implements OpenModule {
  readonly #volume: Volume;
  readonly #blocks: ModuleBlocks | undefined;
  /** The last record; one that is not behind it is carried out again, after its changes were undone. */
  #index = 0;

  constructor(tables: StateTables, blocks: ModuleBlocks | undefined) {
    this.#volume = openVolume(tables, blocks);
    this.#blocks = blocks;
  }

  encode(operation: unknown): Uint8Array {
    return encodeOperation(operation);
  }

  apply(encoded: Uint8Array, context: ApplyContext): FileResult {
    const operation = decodeOperation(encoded);
    return this.#changing(context, (step) => {
      try {
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

  epochStarted(context: Pick<ApplyContext, "index" | "timeMs">): void {
    this.#changing(context, ({ timeMs }) => {
      this.#volume.counters.change().serving = timeMs;
    });
  }

  due(timeMs: number): Uint8Array | null {
    return this.#volume.reaper.isDue(timeMs) ? encodeOperation([32]) : null;
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
    const { inodes, entries: names, extents: places, segments, blobs, opens, reaper, counters } = this.#volume;
    for (const part of [inodes, names, places, segments, blobs, opens, reaper]) {
      for (const row of part.rows()) yield Object.values(row as Row);
    }
    yield Object.values(counters.stored());
  }

  #changing<Result>(context: Pick<ApplyContext, "index" | "timeMs">, change: (step: Step) => Result): Result {
    const { counters } = this.#volume;
    if (context.index <= this.#index) counters.forget();
    this.#index = context.index;
    try {
      const result = change(stepOf(context));
      counters.save();
      return result;
    } catch (e) {
      counters.forget();
      throw e;
    }
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
      case 18:
        return setQuota(volume, operation);
      case 32:
        volume.reaper.step(step.timeMs, reapedPerStep);
        return [""];
      default:
        return refuse("ENOSYS");
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
      case "usage":
        return usage(volume);
      case "path":
        return ["", attributesRow(walk(volume, query[1], query[2], query[3] === 1))];
      default:
        return refuse("ENOSYS");
    }
  }
}

type Row = Record<string, string | number | Uint8Array | null>;
