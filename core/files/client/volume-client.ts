/**
 * An instance's file system by way of its replicas: what VOSes, the FUSE mount and `dvs cp` use. What of it may be read
 * beside a replica is read there. Names that are changed are looked up first and go with the inode that they had; where
 * somebody else was faster it is looked again.
 */
import { randomUUID } from "node:crypto";
import { DvsError } from "../../errors.ts";
import { fileEntriesMax, writeBytesMax } from "../../limits.ts";
import type { ImageReader } from "../../vos.ts";
import { access, checkAccess } from "../access.ts";
import { type Attributes, type FileTime, kindMask, kinds } from "../attributes.ts";
import { FileError, nullWhereNone } from "../errno.ts";
import type {
  AttributeChanges,
  Credentials,
  DirectoryEntry,
  FileSystem,
  FileSystemUsage,
  OpenFile,
  OpenFlags,
  PutAttributes,
  SharedOffset,
} from "../file-system.ts";
import { checkName, checkNewName, checkTarget } from "../names.ts";
import type { By, FileFollow, FileOperation, TimeChange } from "../operations.ts";
import { attributesIn, Changed, entriesIn, numberIn, rowsIn, textIn, usageIn, type What } from "./results.ts";
import { seedVolume } from "./seed.ts";
import { VolumeOffset } from "./shared-offset.ts";
import { Volume, type VolumeOptions } from "./volume.ts";
import { VolumeFile } from "./volume-file.ts";

const superuser: Credentials = { uid: 0, gid: 0 };
const permissionBits = 0o7777;
/** No file has it. */
const nobodysIno = Number.MAX_SAFE_INTEGER;
const renames = { replace: 0, noReplace: 1, exchange: 2 } as const;

export class VolumeClient implements FileSystem {
  readonly #volume: Volume;
  readonly #who: Credentials;
  readonly #by: By;

  private constructor(volume: Volume, who: Credentials) {
    this.#volume = volume;
    this.#who = who;
    this.#by = [who.uid, who.gid, who.groups ?? []];
  }

  static open(options: VolumeOptions): VolumeClient {
    return new VolumeClient(new Volume(options), superuser);
  }

  as(who: Credentials): VolumeClient {
    return new VolumeClient(this.#volume, who);
  }

  /** Begins with the files of an image, where nobody has done that yet. Resolves when they are all there. */
  seed(image: ImageReader): Promise<void> {
    return seedVolume(this.#volume, image);
  }

  /** For all owners. The state's client stays open. */
  close(): Promise<void> {
    return this.#volume.close();
  }

  async attributes(ino: number): Promise<Attributes> {
    const near = this.#volume.near?.attributes(ino);
    if (near) return near;
    const what = () => `look at inode ${ino}`;
    const [row] = await this.#volume.query(["attributes", ino], what);
    return attributesIn(row, what);
  }

  async lookup(parent: number, name: string): Promise<Attributes> {
    checkName(name);
    const what = () => `look up ${JSON.stringify(name)} in directory ${parent}`;
    const by = this.#who.uid === 0 ? null : this.#by;
    const near = by === null ? this.#volume.near?.lookup(parent, name) : null;
    if (near) return near;
    const [row] = await this.#volume.query(["lookup", by, parent, name], what);
    return attributesIn(row, what);
  }

  async entries(
    ino: number,
    after: number,
    limit: number,
    withAttributes = false,
  ): Promise<DirectoryEntry[]> {
    const what = () => `list directory ${ino}`;
    if (this.#who.uid !== 0) checkAccess(await this.attributes(ino), this.#who, access.read);
    const most = Math.min(limit, fileEntriesMax);
    const near = withAttributes ? null : this.#volume.near?.entries(ino, after, most);
    if (near) return near;
    const query = ["entries", ino, after, most, withAttributes ? 1 : 0] as const;
    const [found] = await this.#volume.query(query, what);
    return entriesIn(found, what, withAttributes);
  }

  async readLink(ino: number): Promise<string> {
    const what = () => `read symbolic link ${ino}`;
    const [target] = await this.#volume.query(["link", ino], what);
    return textIn(target, what);
  }

  async usage(): Promise<FileSystemUsage> {
    const what = () => "ask how full the file system is";
    return usageIn(await this.#volume.query(["usage"], what), what);
  }

  async setQuota(quota: { bytesMax?: number | undefined; inodesMax?: number | undefined }): Promise<void> {
    const what = () => "limit what the file system takes";
    if (this.#who.uid !== 0) throw new FileError("EPERM", `cannot ${what()}`);
    const { bytesMax, inodesMax } = await this.usage();
    await this.#volume.operate([18, quota.bytesMax ?? bytesMax, quota.inodesMax ?? inodesMax], what);
  }

  async create(
    parent: number,
    name: string,
    mode: number,
    flags: OpenFlags & { exclusive?: boolean },
  ): Promise<{ attributes: Attributes; file: OpenFile; created: boolean }> {
    checkNewName(name);
    const what = () => `create ${JSON.stringify(name)} in directory ${parent}`;
    const full = kinds.file | (mode & permissionBits);
    const exclusive = flags.exclusive ? 1 : 0;
    const operation = [1, this.#by, parent, name, full, "", 1, exclusive] as const;
    const [row, made] = await this.#volume.operate([...operation], what);
    const attributes = attributesIn(row, what);
    const created = made === 1;
    if (created) this.#volume.opens.taken(attributes.ino);
    // One that was there is told as any other.
    else await this.#volume.opens.take(attributes.ino);
    const file = new VolumeFile(this.#volume, attributes.ino, this.#who, flags);
    if (created) return { attributes, file, created };
    try {
      this.#checkOpening(attributes, flags);
      if (flags.truncate) await file.empty();
      return { attributes: flags.truncate ? await file.attributes() : attributes, file, created };
    } catch (e) {
      await file.close();
      throw e;
    }
  }

  async open(ino: number, flags: OpenFlags): Promise<OpenFile> {
    const attributes = await this.attributes(ino);
    this.#checkOpening(attributes, flags);
    await this.#volume.opens.take(ino, attributes.nlink === 0);
    const file = new VolumeFile(this.#volume, ino, this.#who, flags);
    try {
      if (flags.truncate) await file.empty();
      return file;
    } catch (e) {
      await file.close();
      throw e;
    }
  }

  async put(
    parent: number,
    name: string,
    bytes: Uint8Array,
    { mode, uid = -1, gid = -1, mtime }: PutAttributes,
    found?: number,
  ): Promise<Attributes | null> {
    checkNewName(name, "EISDIR");
    const what = () => `write ${JSON.stringify(name)} in directory ${parent}`;
    if (bytes.length > writeBytesMax)
      throw new FileError("EFBIG", `cannot ${what()} at once: ${bytes.length} bytes`);
    const bits = mode & permissionBits;
    let known = found;
    try {
      return await this.#volume.again(async () => {
        const replaced = known ?? (await this.#inoOrNone(parent, name, what));
        // Where it is another by now, it is looked for.
        known = undefined;
        const time = timeChange(mtime ?? "now");
        const operation = [20, this.#by, parent, name, replaced, bits, uid, gid, time, bytes] as const;
        const [row] = await this.#volume.operate([...operation], what);
        return attributesIn(row, what);
      }, what);
    } catch (e) {
      if (e instanceof DvsError && e.code === "INVALID") return null;
      throw e;
    }
  }

  makeDirectory(parent: number, name: string, mode: number): Promise<Attributes> {
    return this.#make(parent, name, kinds.directory | (mode & permissionBits), "");
  }

  async makeNode(parent: number, name: string, mode: number): Promise<Attributes> {
    const kind = mode & kindMask;
    if (kind === kinds.directory || kind === kinds.symlink || !Object.values<number>(kinds).includes(kind)) {
      throw new FileError(
        "EINVAL",
        `cannot make ${JSON.stringify(name)}: there is no such kind of file here`,
      );
    }
    return this.#make(parent, name, kind | (mode & permissionBits), "");
  }

  async makeSymlink(parent: number, name: string, target: string): Promise<Attributes> {
    checkTarget(target);
    return this.#make(parent, name, kinds.symlink | 0o777, target);
  }

  async #make(parent: number, name: string, mode: number, target: string): Promise<Attributes> {
    checkNewName(name);
    const what = () => `make ${JSON.stringify(name)} in directory ${parent}`;
    const [row] = await this.#volume.operate([1, this.#by, parent, name, mode, target, 0, 1], what);
    return attributesIn(row, what);
  }

  async makeLink(ino: number, parent: number, name: string): Promise<Attributes> {
    checkNewName(name);
    const what = () => `link inode ${ino} as ${JSON.stringify(name)} in directory ${parent}`;
    const [row] = await this.#volume.operate([2, this.#by, ino, parent, name], what);
    return attributesIn(row, what);
  }

  async unlink(parent: number, name: string, only?: number): Promise<void> {
    checkNewName(name, "EISDIR");
    const what = () => `remove ${JSON.stringify(name)} from directory ${parent}`;
    if (only !== undefined) {
      await this.#volume.operate([3, this.#by, parent, name, only], what).catch(asStale(what));
      return;
    }
    await this.#volume.again(async () => {
      const ino = await this.#inoOf(parent, name, what);
      await this.#volume.operate([3, this.#by, parent, name, ino], what);
    }, what);
  }

  async removeDirectory(parent: number, name: string): Promise<void> {
    checkName(name);
    const what = () => `remove directory ${JSON.stringify(name)} from directory ${parent}`;
    if (name === ".") throw new FileError("EINVAL", `cannot ${what()}`);
    if (name === "..") throw new FileError("ENOTEMPTY", `cannot ${what()}`);
    await this.#volume.again(async () => {
      const ino = await this.#inoOf(parent, name, what);
      await this.#volume.operate([4, this.#by, parent, name, ino], what);
    }, what);
  }

  async rename(
    parent: number,
    name: string,
    toParent: number,
    toName: string,
    how: "replace" | "noReplace" | "exchange" = "replace",
    only?: number,
  ): Promise<void> {
    checkNewName(name, "EBUSY");
    checkNewName(toName, "EBUSY");
    const what = () =>
      `rename ${JSON.stringify(name)} in directory ${parent} to ${JSON.stringify(toName)} in ${toParent}`;
    if (only !== undefined) {
      const ino = await this.#inoOf(parent, name, what);
      const operation = [5, this.#by, parent, name, toParent, toName, renames[how], ino, only] as const;
      await this.#volume.operate([...operation], what).catch(asStale(what));
      return;
    }
    await this.#volume.again(async () => {
      const [ino, replaced] = await Promise.all([
        this.#inoOf(parent, name, what),
        this.#inoOrNone(toParent, toName, what),
      ]);
      const operation = [5, this.#by, parent, name, toParent, toName, renames[how], ino, replaced] as const;
      await this.#volume.operate([...operation], what);
    }, what);
  }

  async setAttributes(ino: number, changes: AttributeChanges): Promise<Attributes> {
    const { mode, uid = -1, gid = -1, size = -1, atime, mtime } = changes;
    const what = () => `change the attributes of inode ${ino}`;
    const times = [timeChange(atime), timeChange(mtime)] as const;
    const bits = mode === undefined ? -1 : mode & permissionBits;
    const operation: FileOperation = [6, this.#by, ino, bits, uid, gid, size, ...times, 0];
    // What was cut off before may have to be cleared away first, step by step.
    const [row] = await this.#volume.again(() => this.#volume.operate(operation, what), what);
    return attributesIn(row, what);
  }

  sync(): Promise<void> {
    return this.#volume.state.sync();
  }

  async sharedOffset(ino: number): Promise<SharedOffset> {
    const id = randomUUID();
    await this.#volume.operate([12, ino, id], () => `share an offset of inode ${ino}`);
    this.#volume.useOffset(id);
    return new VolumeOffset(this.#volume, id);
  }

  async joinOffset(id: string): Promise<SharedOffset> {
    if (!this.#volume.useOffset(id)) return new VolumeOffset(this.#volume, id);
    try {
      await this.#volume.operate([13, id], () => `share the offset ${id}`);
    } catch (e) {
      this.#volume.leaveOffset(id);
      throw e;
    }
    return new VolumeOffset(this.#volume, id);
  }

  async *changes(signal: AbortSignal): AsyncGenerator<{ ino: number; change: number }[]> {
    const what = () => "follow changes";
    // Where it began is told first, with the inode 0.
    const resume = (query: FileFollow, last: unknown): FileFollow => {
      const [row] = rowsIn([last], what);
      return ["changes", Math.max(Number(query.at(-1)), numberIn(row![1], what))];
    };
    const both = AbortSignal.any([signal, this.#volume.closed]);
    for await (const value of this.#volume.follow(["changes", -1], resume, both)) {
      const [row] = rowsIn([value], what);
      const [ino, change] = [numberIn(row![0], what), numberIn(row![1], what)];
      yield ino === 0 ? [] : [{ ino, change }];
    }
  }

  /** Throws what an open(2) would. */
  #checkOpening(attributes: Attributes, { read, write, truncate }: OpenFlags): void {
    const { ino, mode } = attributes;
    const kind = mode & kindMask;
    if (kind === kinds.symlink)
      throw new FileError("ELOOP", `cannot open inode ${ino}: it is a symbolic link`);
    if (kind === kinds.directory && (write || truncate)) {
      throw new FileError("EISDIR", `cannot write to inode ${ino}: it is a directory`);
    }
    const wanted = (read ? access.read : 0) | (write || truncate ? access.write : 0);
    checkAccess(attributes, this.#who, wanted);
  }

  /** 0: nothing has the name. */
  async #inoOrNone(parent: number, name: string, what: What): Promise<number> {
    const ino = await this.#inoOf(parent, name, what).catch(nullWhereNone);
    return ino === null || ino === nobodysIno ? 0 : ino;
  }

  /** Of a name that is to be changed: whoever may change it is looked at then. */
  async #inoOf(parent: number, name: string, what: What): Promise<number> {
    const near = this.#volume.isOnce ? null : this.#volume.near?.lookup(parent, name);
    if (near) return near.ino;
    try {
      const [row] = await this.#volume.query(["lookup", null, parent, name], what);
      return attributesIn(row, what).ino;
    } catch (e) {
      // Perhaps this very operation has removed it, when it was asked for before: its result is kept.
      if (this.#volume.isOnce && e instanceof FileError && e.code === "ENOENT") return nobodysIno;
      throw e;
    }
  }
}

/** What the caller knows of the name is over. */
function asStale(what: What): (e: unknown) => never {
  return (e) => {
    if (!(e instanceof Changed)) throw e;
    throw new FileError("ESTALE", `cannot ${what()}: it has another file by now`);
  };
}

function timeChange(time: FileTime | "now" | undefined): TimeChange {
  if (time === undefined) return null;
  return time === "now" ? 0 : [time.seconds, time.nanos];
}
