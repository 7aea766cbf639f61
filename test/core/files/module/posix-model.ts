/** A file system as simple as it can be, to hold the module to: maps and byte arrays, one client's permissions at a time. */
import { kindMask, kinds } from "../../../../core/files/attributes.ts";
import type { By, FileOperation } from "../../../../core/files/operations.ts";

export interface ModelInode {
  ino: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  bytes: Uint8Array;
  target: string;
  /** Of a directory. */
  entries: Map<string, number>;
  parent: number;
  openBy: Set<string>;
}

/** An errno, or what the result has to have. */
export type Expected = string | { ino?: number; offset?: number; size?: number; made?: number };

const [directoryKind, fileKind] = [kinds.directory, kinds.file];

export class PosixModel {
  readonly inodes = new Map<number, ModelInode>();
  bytesMax = Infinity;
  inodesMax = Infinity;

  constructor() {
    this.#add(1, directoryKind | 0o755, [0, 0, []], 1, "");
    this.inodes.get(1)!.nlink = 2;
  }

  /** `madeIno`: which number the module has given. */
  apply(operation: FileOperation, client: string, madeIno: number): Expected {
    switch (operation[0]) {
      case 1:
        return this.#create(operation, client, madeIno);
      case 2:
        return this.#link(operation);
      case 3:
        return this.#remove(operation, false);
      case 4:
        return this.#remove(operation, true);
      case 5:
        return this.#rename(operation);
      case 6:
        return this.#setAttributes(operation);
      case 7:
        return this.#write(operation);
      case 8: {
        const inode = this.inodes.get(operation[1]);
        if (!inode) return "ESTALE";
        inode.openBy.add(client);
        return {};
      }
      case 20:
        return this.#put(operation, madeIno);
      case 9:
        for (const ino of operation[1]) this.inodes.get(ino)?.openBy.delete(client);
        return {};
      default:
        throw new Error(`no model of operation ${operation[0]}`);
    }
  }

  clientRemoved(client: string): void {
    for (const inode of this.inodes.values()) inode.openBy.delete(client);
  }

  /** Files without a name that nobody has open go, sooner or later. */
  reap(): void {
    for (const { ino, nlink, openBy } of this.inodes.values()) {
      if (nlink === 0 && openBy.size === 0) this.inodes.delete(ino);
    }
  }

  isDirectory({ mode }: ModelInode): boolean {
    return (mode & kindMask) === directoryKind;
  }

  #add(ino: number, mode: number, by: By, parent: number, target: string): ModelInode {
    const [uid, gid] = by;
    const inode: ModelInode = {
      ...{ ino, mode, uid, gid, target, parent, nlink: 1 },
      ...{ bytes: new Uint8Array(0), entries: new Map<string, number>(), openBy: new Set<string>() },
    };
    this.inodes.set(ino, inode);
    return inode;
  }

  #may(inode: ModelInode, by: By, wanted: number): boolean {
    if (by[0] === 0) return true;
    if (by[0] === inode.uid) return ((inode.mode >> 6) & wanted) === wanted;
    const isOfGroup = by[1] === inode.gid || by[2].includes(inode.gid);
    return ((isOfGroup ? inode.mode >> 3 : inode.mode) & wanted) === wanted;
  }

  #directory(ino: number, by: By): ModelInode | string {
    const directory = this.inodes.get(ino);
    if (!directory) return "ESTALE";
    if (!this.isDirectory(directory)) return "ENOTDIR";
    if (directory.nlink === 0) return "ENOENT";
    return this.#may(directory, by, 1) ? directory : "EACCES";
  }

  #create(
    [, by, parent, name, mode, target, open, exclusive]: Extract<FileOperation, readonly [1, ...unknown[]]>,
    client: string,
    madeIno: number,
  ): Expected {
    const directory = this.#directory(parent, by);
    if (typeof directory === "string") return directory;
    const found = directory.entries.get(name);
    if (found !== undefined) {
      if (exclusive === 1 || (mode & kindMask) !== fileKind) return "EEXIST";
      const inode = this.inodes.get(found)!;
      if (this.isDirectory(inode)) return "EISDIR";
      return { ino: found, made: 0 };
    }
    if (!this.#may(directory, by, 3)) return "EACCES";
    if (this.#counted().inodes + 1 > this.inodesMax) return "EDQUOT";
    const isLink = (mode & kindMask) === kinds.symlink;
    const inode = this.#add(madeIno, isLink ? kinds.symlink | 0o777 : mode, by, parent, target);
    if (directory.mode & 0o2000) {
      inode.gid = directory.gid;
      const loses = (mode & 0o2010) === 0o2010 && by[0] !== 0 && !this.#isMember(by, directory.gid);
      if (this.isDirectory(inode)) inode.mode |= 0o2000;
      else if (loses) inode.mode &= ~0o2000;
    }
    if (this.isDirectory(inode)) {
      inode.nlink = 2;
      directory.nlink++;
    }
    directory.entries.set(name, madeIno);
    if (open === 1) inode.openBy.add(client);
    return { ino: madeIno, made: 1 };
  }

  #put(operation: Extract<FileOperation, readonly [20, ...unknown[]]>, madeIno: number): Expected {
    const [, by, parent, name, , mode, uid, gid, , bytes] = operation;
    const directory = this.#directory(parent, by);
    if (typeof directory === "string") return directory;
    const found = directory.entries.get(name);
    const replaced = found === undefined ? null : this.inodes.get(found)!;
    if (replaced && this.isDirectory(replaced)) return "EISDIR";
    if (replaced) {
      const issue = this.#mayRemove(directory, replaced, by);
      if (issue) return issue;
    } else if (!this.#may(directory, by, 3)) return "EACCES";
    if (by[0] !== 0 && ((uid >= 0 && uid !== by[0]) || (gid >= 0 && !this.#isMember(by, gid))))
      return "EPERM";
    if (this.#counted().inodes + 1 > this.inodesMax) return "EDQUOT";
    const inode = this.#add(madeIno, fileKind, by, parent, "");
    inode.gid = gid >= 0 ? gid : directory.mode & 0o2000 ? directory.gid : by[1];
    if (uid >= 0) inode.uid = uid;
    const keeps = by[0] === 0 || this.#isMember(by, inode.gid);
    inode.mode |= mode & (keeps ? 0o7777 : 0o5777);
    inode.bytes = bytes.slice();
    directory.entries.set(name, madeIno);
    if (replaced) this.#loseName(directory, replaced);
    return { ino: madeIno };
  }

  #isMember(by: By, gid: number): boolean {
    return by[1] === gid || by[2].includes(gid);
  }

  #link([, by, ino, parent, name]: Extract<FileOperation, readonly [2, ...unknown[]]>): Expected {
    const inode = this.inodes.get(ino);
    if (!inode) return "ESTALE";
    const directory = this.#directory(parent, by);
    if (typeof directory === "string") return directory;
    if (directory.entries.has(name)) return "EEXIST";
    if (!this.#may(directory, by, 3)) return "EACCES";
    if (this.isDirectory(inode)) return "EPERM";
    if (inode.nlink === 0) return "ENOENT";
    directory.entries.set(name, ino);
    inode.nlink++;
    return { ino };
  }

  #mayRemove(directory: ModelInode, inode: ModelInode, by: By): string | null {
    if (!this.#may(directory, by, 3)) return "EACCES";
    const owns = by[0] === 0 || by[0] === inode.uid || by[0] === directory.uid;
    return (directory.mode & 0o1000) !== 0 && !owns ? "EPERM" : null;
  }

  #remove(
    [, by, parent, name, expected]: Extract<FileOperation, readonly [3 | 4, ...unknown[]]>,
    wantsDirectory: boolean,
  ): Expected {
    const directory = this.#directory(parent, by);
    if (typeof directory === "string") return directory;
    const ino = directory.entries.get(name);
    if (ino === undefined) return "ENOENT";
    if (ino !== expected) return "changed";
    const inode = this.inodes.get(ino)!;
    const issue = this.#mayRemove(directory, inode, by);
    if (issue) return issue;
    if (wantsDirectory !== this.isDirectory(inode)) return wantsDirectory ? "ENOTDIR" : "EISDIR";
    if (wantsDirectory && inode.entries.size > 0) return "ENOTEMPTY";
    directory.entries.delete(name);
    this.#loseName(directory, inode);
    return {};
  }

  #loseName(directory: ModelInode, inode: ModelInode): void {
    if (this.isDirectory(inode)) {
      inode.nlink = 0;
      directory.nlink--;
    } else inode.nlink--;
  }

  #isWithin(directory: ModelInode, ino: number): boolean {
    for (let at = directory; ; at = this.inodes.get(at.parent)!) {
      if (at.ino === ino) return true;
      if (at.ino === 1) return false;
    }
  }

  #rename(operation: Extract<FileOperation, readonly [5, ...unknown[]]>): Expected {
    const [, by, parent, name, toParent, toName, how, expected, expectedThere] = operation;
    const from = this.inodes.get(parent);
    const to = this.inodes.get(toParent);
    for (const each of [from, to]) {
      if (!each) return "ESTALE";
      if (!this.isDirectory(each)) return "ENOTDIR";
      if (each.nlink === 0) return "ENOENT";
    }
    if (!this.#may(from!, by, 1) || !this.#may(to!, by, 1)) return "EACCES";
    const ino = from!.entries.get(name);
    if (ino === undefined) return "ENOENT";
    if (ino !== expected) return "changed";
    const inode = this.inodes.get(ino)!;
    const toIno = to!.entries.get(toName);
    if (how === 1 && toIno !== undefined) return "EEXIST";
    if (how === 2 && toIno === undefined) return "ENOENT";
    if ((toIno ?? 0) !== expectedThere) return "changed";
    const replaced = toIno === undefined ? null : this.inodes.get(toIno)!;
    if (this.isDirectory(inode) && this.#isWithin(to!, ino)) return "EINVAL";
    if (replaced && this.isDirectory(replaced) && this.#isWithin(from!, replaced.ino)) {
      return how === 2 ? "EINVAL" : "ENOTEMPTY";
    }
    if (replaced === inode) return { ino };
    const issue = this.#mayRemove(from!, inode, by);
    if (issue) return issue;
    if (replaced) {
      const other = this.#mayRemove(to!, replaced, by);
      if (other) return other;
    } else if (!this.#may(to!, by, 3)) return "EACCES";
    if (from !== to && this.isDirectory(inode) && !this.#may(inode, by, 2)) return "EACCES";
    if (how === 2) {
      if (from !== to && this.isDirectory(replaced!) && !this.#may(replaced!, by, 2)) return "EACCES";
      from!.entries.set(name, replaced!.ino);
      to!.entries.set(toName, ino);
      this.#moveDirectory(inode, from!, to!);
      this.#moveDirectory(replaced!, to!, from!);
      return { ino };
    }
    if (replaced) {
      if (this.isDirectory(inode) && !this.isDirectory(replaced)) return "ENOTDIR";
      if (!this.isDirectory(inode) && this.isDirectory(replaced)) return "EISDIR";
      if (replaced.entries.size > 0) return "ENOTEMPTY";
      this.#loseName(to!, replaced);
    }
    from!.entries.delete(name);
    to!.entries.set(toName, ino);
    this.#moveDirectory(inode, from!, to!);
    return { ino };
  }

  #moveDirectory(inode: ModelInode, from: ModelInode, to: ModelInode): void {
    if (!this.isDirectory(inode)) return;
    from.nlink--;
    to.nlink++;
    inode.parent = to.ino;
  }

  #setAttributes(operation: Extract<FileOperation, readonly [6, ...unknown[]]>): Expected {
    const [, by, ino, mode, uid, gid, size, , , opened] = operation;
    const inode = this.inodes.get(ino);
    if (!inode) return "ESTALE";
    const isFile = (inode.mode & kindMask) === fileKind;
    const owns = by[0] === 0 || by[0] === inode.uid;
    if (size >= 0) {
      if (this.isDirectory(inode)) return "EISDIR";
      if (!isFile) return "EINVAL";
      if (opened === 0 && !this.#may(inode, by, 2)) return "EACCES";
    }
    if (mode >= 0 && !owns) return "EPERM";
    if (mode >= 0 && (inode.mode & kindMask) === kinds.symlink) return "EOPNOTSUPP";
    if (uid >= 0 && by[0] !== 0 && !(owns && uid === inode.uid)) return "EPERM";
    if (gid >= 0 && by[0] !== 0 && !(owns && (gid === inode.gid || this.#isMember(by, gid)))) return "EPERM";
    if (size >= 0) {
      const bytes = new Uint8Array(size);
      bytes.set(inode.bytes.subarray(0, size));
      inode.bytes = bytes;
      this.#clearSetId(inode, by);
    }
    if (uid >= 0) inode.uid = uid;
    if (gid >= 0) inode.gid = gid;
    if (uid >= 0 || gid >= 0) this.#clearSetId(inode, [1, 1, []]);
    if (mode >= 0) {
      const keeps = by[0] === 0 || this.#isMember(by, inode.gid);
      inode.mode = (inode.mode & kindMask) | (mode & (keeps ? 0o7777 : 0o5777));
    }
    return { ino };
  }

  #clearSetId(inode: ModelInode, by: By): void {
    if (by[0] === 0 || (inode.mode & kindMask) !== fileKind) return;
    inode.mode &= ~0o4000;
    if (inode.mode & 0o010) inode.mode &= ~0o2000;
  }

  #write([, by, ino, given, data]: Extract<FileOperation, readonly [7, ...unknown[]]>): Expected {
    const inode = this.inodes.get(ino);
    if (!inode) return "ESTALE";
    if (this.isDirectory(inode)) return "EISDIR";
    if ((inode.mode & kindMask) !== fileKind) return "EINVAL";
    const offset = given < 0 ? inode.bytes.length : given;
    const bytes = new Uint8Array(Math.max(inode.bytes.length, offset + data.length));
    bytes.set(inode.bytes);
    bytes.set(data, offset);
    inode.bytes = bytes;
    this.#clearSetId(inode, by);
    return { offset, size: bytes.length };
  }

  #counted(): { inodes: number } {
    const counted = [...this.inodes.values()].filter(({ nlink, openBy }) => nlink > 0 || openBy.size > 0);
    return { inodes: counted.length };
  }
}
