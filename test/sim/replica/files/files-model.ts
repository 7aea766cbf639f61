/**
 * What files are after each record, as simple as it can be: trees of maps and byte arrays, locks byte by byte. The
 * records of the log are carried out here one after the other, and reads are held against each state between two.
 */
import { type AttributesRow, kindMask, kinds } from "../../../../core/files/attributes.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import type { FileOperation, FileQuery, FileResult } from "../../../../core/files/operations.ts";
import { LockModel } from "../../../core/files/module/lock-model.ts";
import { type ModelInode, PosixModel } from "../../../core/files/module/posix-model.ts";

/** One record that was carried out. */
export interface Commit {
  client: string;
  /** Null: the client is gone. */
  operation: FileOperation | null;
  result: FileResult;
}

const rowFields = ["ino", "mode", "nlink", "uid", "gid", "size"] as const;

export class FilesModel {
  readonly #tree = new PosixModel();
  readonly #locks = new Map<number, LockModel>();

  /** What is wrong with the result of the next record, or null. */
  apply({ client, operation, result }: Commit): string | null {
    if (!operation) {
      this.#tree.clientRemoved(client);
      for (const locks of this.#locks.values()) locks.release(client);
      return null;
    }
    const inos = inosIn(operation);
    // When what nobody has any more is taken apart is not the model's concern.
    if (result[0] === "ESTALE" && inos.some((ino) => this.#mayBeGone(ino))) return null;
    switch (operation[0]) {
      case 10:
        return this.#lock(operation, client, result);
      case 11: {
        const [, ino, ticket] = operation;
        const had = this.#locksOf(ino).cancel(client, ticket);
        // Who waits for a file goes with it.
        return this.#mayBeGone(ino) ? null : same(result, ["", had]);
      }
      case 32: // reap
      case 33: // move: the bytes stay what they are
      case 34: // expire
        return same(result, [""]);
      case 9:
        for (const ino of operation[1]) this.#locks.get(ino)?.release(client);
    }
    const isMade = operation[0] === 1 && result[0] === "";
    const made = isMade ? (result[1] as AttributesRow)[0] : 0;
    if (isMade && result[2] === 1 && this.#tree.inodes.has(made)) return `inode ${made} is given twice`;
    const expected = this.#tree.apply(operation, client, made);
    if (typeof expected === "string") return same(result, [expected]);
    if (result[0] !== "") return same(result, [""]);
    const { ino, made: isNew, offset, size } = expected;
    if (ino !== undefined) {
      const wrong = this.#attributes(ino, result);
      if (wrong) return wrong;
    }
    if (isNew !== undefined && result[2] !== isNew) return `${shown(result)}, and made: ${isNew}`;
    return offset === undefined ? null : same(result.slice(0, 3), ["", offset, size]);
  }

  /** Whether this is what there is now. */
  answers(query: FileQuery, result: FileResult): boolean {
    switch (query[0]) {
      case "attributes":
        return this.#attributes(query[1], result) === null;
      case "lookup":
        return this.#lookup(query[2], query[3], result);
      case "entries":
        return this.#entries(query[1], result);
      case "link":
        return this.#link(query[1], result);
      case "read":
        return this.#read(query[1], query[2], query[3], result);
      case "lockedBy":
        return this.#lockedBy(query, result);
      case "path":
        return this.#path(query[2], result);
      default:
        throw new Error(`no model of query ${query[0]}`);
    }
  }

  /** A file or directory without a name, which nobody is known to have open. */
  #mayBeGone(ino: number): boolean {
    const inode = this.#tree.inodes.get(ino);
    return inode !== undefined && inode.nlink === 0 && inode.openBy.size === 0;
  }

  #lock(
    [, ino, type, kind, start, end, owner, , ticket]: Extract<FileOperation, readonly [10, ...unknown[]]>,
    client: string,
    result: FileResult,
  ): string | null {
    if (!this.#tree.inodes.has(ino)) return same(result, ["ESTALE"]);
    const got = this.#locksOf(ino).lock({ client, owner, type, kind, start, end }, ticket);
    return same(result, typeof got === "string" ? [got] : ["", got]);
  }

  #locksOf(ino: number): LockModel {
    const locks = this.#locks.get(ino) ?? new LockModel();
    this.#locks.set(ino, locks);
    return locks;
  }

  /** Of an inode that is there, or whose number is: what is wrong, or null. */
  #attributes(ino: number, result: FileResult): string | null {
    const inode = this.#tree.inodes.get(ino);
    if (result[0] === "ESTALE" && (!inode || this.#mayBeGone(ino))) return null;
    if (!inode) return same(result, ["ESTALE"]);
    if (result[0] !== "") return same(result, [""]);
    const row = result[1] as AttributesRow;
    const wanted = rowOf(inode);
    // Of anything but a file the size is not the model's.
    const count = (inode.mode & kindMask) === kinds.file ? wanted.length : wanted.length - 1;
    for (let i = 0; i < count; i++)
      if (row[i] !== wanted[i]) return `${rowFields[i]} of inode ${ino} is ${row[i]}, not ${wanted[i]}`;
    return null;
  }

  /** An error, or the inode of a name. */
  #find(parent: number, name: string): ModelInode | string {
    const directory = this.#tree.inodes.get(parent);
    if (!directory) return "ESTALE";
    if (!this.#tree.isDirectory(directory)) return "ENOTDIR";
    const ino = directory.entries.get(name);
    return ino === undefined ? "ENOENT" : this.#tree.inodes.get(ino)!;
  }

  #lookup(parent: number, name: string, result: FileResult): boolean {
    if (result[0] === "ESTALE" && this.#mayBeGone(parent)) return true;
    const found = this.#find(parent, name);
    if (typeof found === "string") return result[0] === found;
    return result[0] === "" && this.#attributes(found.ino, result) === null;
  }

  #entries(ino: number, result: FileResult): boolean {
    const inode = this.#tree.inodes.get(ino);
    if (result[0] === "ESTALE") return !inode || this.#mayBeGone(ino);
    if (!inode) return false;
    if (!this.#tree.isDirectory(inode)) return result[0] === "ENOTDIR";
    if (result[0] !== "") return false;
    const entries = result[1] as [string, number, number, number, AttributesRow | null][];
    if (entries.length !== inode.entries.size) return false;
    let last = 0;
    for (const [name, entryIno, kind, cookie, row] of entries) {
      if (inode.entries.get(name) !== entryIno || cookie <= last) return false;
      last = cookie;
      if ((this.#tree.inodes.get(entryIno)!.mode & kindMask) !== kind) return false;
      if (row && this.#attributes(entryIno, ["", row]) !== null) return false;
    }
    return true;
  }

  #link(ino: number, result: FileResult): boolean {
    const inode = this.#tree.inodes.get(ino);
    if (result[0] === "ESTALE") return !inode || this.#mayBeGone(ino);
    if (!inode) return false;
    if ((inode.mode & kindMask) !== kinds.symlink) return result[0] === "EINVAL";
    return result[0] === "" && result[1] === inode.target;
  }

  #read(ino: number, offset: number, length: number, result: FileResult): boolean {
    const inode = this.#tree.inodes.get(ino);
    if (result[0] === "ESTALE") return !inode || this.#mayBeGone(ino);
    if (!inode) return false;
    if (this.#tree.isDirectory(inode)) return result[0] === "EISDIR";
    if ((inode.mode & kindMask) !== kinds.file) return result[0] === "EINVAL";
    const bytes = inode.bytes.subarray(offset, offset + length);
    const got = result[1];
    return result[0] === "" && got instanceof Uint8Array && isEqual(got, bytes);
  }

  #lockedBy(
    [, ino, type, kind, start, end, owner, client]: Extract<FileQuery, readonly ["lockedBy", ...unknown[]]>,
    result: FileResult,
  ): boolean {
    const held = this.#locks.get(ino)?.flockInWay({ type, kind, start, end, owner, client }) ?? 0;
    if (result[0] !== "") return false;
    // Locks of a file go with it.
    if (result[1] === null) return held === 0 || this.#mayBeGone(ino);
    return (result[1] as number[])[0] === held;
  }

  /** Links end nowhere: whoever goes through one finds nothing. */
  #path(path: string, result: FileResult): boolean {
    let at = this.#tree.inodes.get(rootIno)!;
    for (const name of path.split("/").filter(Boolean)) {
      if ((at.mode & kindMask) === kinds.symlink) return result[0] === "ENOENT";
      const found = this.#find(at.ino, name);
      if (typeof found === "string") return result[0] === found;
      at = found;
    }
    return result[0] === "" && this.#attributes(at.ino, result) === null;
  }
}

function rowOf({ ino, mode, nlink, uid, gid, bytes }: ModelInode): number[] {
  return [ino, mode, nlink, uid, gid, bytes.length];
}

/** Inodes that an operation names. */
function inosIn(operation: FileOperation): number[] {
  switch (operation[0]) {
    case 1:
      return [operation[2]];
    case 2:
      return [operation[2], operation[3]];
    case 3:
    case 4:
      return [operation[2], operation[4]];
    case 5:
      return [operation[2], operation[4], operation[7], operation[8]];
    case 6:
    case 7:
      return [operation[2]];
    case 8:
    case 10:
    case 11:
      return [operation[1]];
    default:
      return [];
  }
}

function same(result: readonly unknown[], expected: readonly unknown[]): string | null {
  const isSame = expected.every((value, i) => result[i] === value);
  return isSame ? null : `${shown(result)}, and should be ${shown(expected)}`;
}

export function shown(result: readonly unknown[]): string {
  const text = JSON.stringify(result, (_key, value: unknown) =>
    value instanceof Uint8Array ? `${value.length} bytes of ${value[0] ?? "nothing"}` : value,
  );
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
