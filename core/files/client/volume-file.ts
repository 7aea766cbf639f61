/** A file that this client has open. */
import { readBytesMaxPerAsk, readsAheadMax, writeBytesMax, writesAheadMax } from "../../limits.ts";
import type { Attributes } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { Credentials, LockHolder, LockRequest, OpenFile, OpenFlags } from "../file-system.ts";
import type { By, FileOperation, FileQuery } from "../operations.ts";
import { imageBytes } from "./image-bytes.ts";
import { attributesIn, bytesIn, numberIn, rowsIn } from "./results.ts";
import type { Volume } from "./volume.ts";

const lockTypes = { flock: 0, posix: 1 } as const;
const lockKinds = { none: 0, shared: 1, exclusive: 2 } as const;
const ownerForm = /^[\x20-\x7e]{1,64}$/;

export class VolumeFile implements OpenFile {
  readonly ino: number;
  readonly #volume: Volume;
  readonly #by: By;
  readonly #flags: OpenFlags;
  #closed = false;

  /** Of an inode that `volume.opens` has counted once for it. */
  constructor(volume: Volume, ino: number, who: Credentials, flags: OpenFlags) {
    this.ino = ino;
    this.#volume = volume;
    this.#by = [who.uid, who.gid, who.groups ?? []];
    this.#flags = flags;
  }

  async attributes(): Promise<Attributes> {
    this.#check("look at");
    const near = this.#volume.near?.attributes(this.ino);
    if (near) return near;
    const what = () => `look at inode ${this.ino}`;
    const [row] = await this.#volume.query(["attributes", this.ino], what);
    return attributesIn(row, what);
  }

  /** No async function: what is at hand beside a replica is 2 µs. */
  read(offset: number, length: number): Promise<Uint8Array> {
    try {
      this.#check("read", this.#flags.read === true);
      checkRange(this.ino, offset, length);
      if (length === 0) return Promise.resolve(new Uint8Array(0));
      const near = this.#volume.near?.read(this.ino, offset, length);
      if (near instanceof Uint8Array) return Promise.resolve(near);
      if (near) return near.then((bytes) => bytes ?? this.#readByAsking(offset, length));
      return this.#readByAsking(offset, length);
    } catch (e) {
      return Promise.reject(e);
    }
  }

  async #readByAsking(offset: number, length: number): Promise<Uint8Array> {
    const what = () => `read inode ${this.ino} at ${offset}`;
    const ask = async (at: number, bytes: number) => {
      try {
        const [found] = await this.#volume.query(["read", this.ino, at, bytes], what);
        return bytesIn(found, what);
      } catch (e) {
        const ours = isUnreadable(e) ? await imageBytes(this.#volume, this.ino, at, bytes) : null;
        if (ours) return ours;
        throw e;
      }
    };
    if (length <= readBytesMaxPerAsk) return ask(offset, length);
    const bytes = new Uint8Array(length);
    let end = length;
    const starts = Array.from(
      { length: Math.ceil(length / readBytesMaxPerAsk) },
      (_, i) => i * readBytesMaxPerAsk,
    );
    const readers = Array.from({ length: readsAheadMax }, async () => {
      for (let at = starts.shift(); at !== undefined && at < end; at = starts.shift()) {
        const wanted = Math.min(readBytesMaxPerAsk, length - at);
        const piece = await ask(offset + at, wanted);
        bytes.set(piece, at);
        if (piece.length < wanted) end = Math.min(end, at + piece.length);
      }
    });
    await Promise.all(readers);
    return end === length ? bytes : bytes.slice(0, end);
  }

  async write(offset: number, bytes: Uint8Array): Promise<number> {
    this.#check("write", this.#flags.write === true);
    if (this.#flags.append) return this.#append(bytes);
    checkRange(this.ino, offset, bytes.length);
    if (bytes.length <= writeBytesMax) {
      if (bytes.length > 0) await this.#writePiece(offset, bytes);
      return offset;
    }
    let at = 0;
    // The first one that fails ends it; what was under way is waited for, since the bytes are the caller's again then.
    const writers = Array.from({ length: writesAheadMax }, async () => {
      while (at < bytes.length) {
        const from = at;
        at += writeBytesMax;
        try {
          await this.#writePiece(offset + from, bytes.subarray(from, from + writeBytesMax));
        } catch (e) {
          at = bytes.length;
          throw e;
        }
      }
    });
    const failed = (await Promise.allSettled(writers)).find(({ status }) => status === "rejected");
    if (failed) throw (failed as PromiseRejectedResult).reason;
    return offset;
  }

  /** One piece after the other: where each goes is found only when it is carried out. */
  async #append(bytes: Uint8Array): Promise<number> {
    if (bytes.length === 0) return (await this.attributes()).size;
    let first = -1;
    for (let at = 0; at < bytes.length; at += writeBytesMax) {
      const offset = await this.#writePiece(-1, bytes.subarray(at, at + writeBytesMax));
      if (at === 0) first = offset;
    }
    return first;
  }

  async #writePiece(offset: number, bytes: Uint8Array): Promise<number> {
    const what = () => `write ${bytes.length} bytes to inode ${this.ino}`;
    // What was cut off before may have to be cleared away first, step by step.
    const [at] = await this.#volume.again(
      () => this.#volume.operate([7, this.#by, this.ino, offset, bytes], what),
      what,
    );
    return numberIn(at, what);
  }

  async truncate(size: number): Promise<void> {
    this.#check("truncate");
    // As Linux has it, unlike that of a write.
    if (!this.#flags.write)
      throw new FileError("EINVAL", `cannot truncate inode ${this.ino}: it was opened to read`);
    checkRange(this.ino, size, 0);
    await this.#resize(size);
  }

  /** As a part of opening it, also to read: whether that may be was looked at there. */
  empty(): Promise<void> {
    return this.#resize(0);
  }

  async #resize(size: number): Promise<void> {
    const what = () => `truncate inode ${this.ino}`;
    await this.#volume.again(
      () => this.#volume.operate([6, this.#by, this.ino, -1, -1, -1, size, null, null, 1], what),
      what,
    );
  }

  sync(): Promise<void> {
    this.#check("sync");
    return this.#volume.state.sync();
  }

  async lock(request: LockRequest): Promise<void> {
    this.#check("lock", this.#mayLock(request));
    const { locks } = this.#volume;
    const ask = async (ticket: number) => {
      const fields = lockFields(this.ino, request);
      const what = () => `lock inode ${this.ino}`;
      const [granted] = await this.#volume.operate([10, ...fields, request.pid ?? 0, ticket], what);
      return granted === 1;
    };
    const { wait } = request;
    await locks.givingUp(this.ino, request);
    if (request.kind !== "none") locks.held(this.ino, request);
    if (!wait || request.kind === "none") await ask(0);
    else await locks.wait(this.ino, wait === true ? null : wait, ask);
  }

  async lockedBy(request: LockRequest): Promise<LockHolder | null> {
    this.#check("look at the locks of");
    const what = () => `look at the locks of inode ${this.ino}`;
    const [found] = await this.#volume.query(
      ["lockedBy", ...lockFields(this.ino, request), this.#volume.client] as FileQuery,
      what,
    );
    if (found === null || found === undefined) return null;
    const [row] = rowsIn([found], what);
    const [kind, start, end, pid] = row!.map((field) => numberIn(field, what));
    return {
      kind: kind === lockKinds.exclusive ? "exclusive" : "shared",
      range: { start: start!, end: end! < 0 ? Infinity : end! },
      pid: pid!,
    };
  }

  async close({ flockOwner, posixOwner }: { flockOwner?: string; posixOwner?: string } = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    try {
      if (flockOwner !== undefined) await this.unlock("flock", flockOwner);
      if (posixOwner !== undefined) await this.unlock("posix", posixOwner);
    } finally {
      this.#volume.opens.give(this.ino);
    }
  }

  /** Asks nobody where the owner cannot have any. */
  async unlock(type: LockRequest["type"], owner: string): Promise<void> {
    const { locks } = this.#volume;
    const lock = { type, owner };
    await locks.givingUp(this.ino, lock);
    if (!locks.mayHold(this.ino, lock)) return;
    const all: LockRequest = { ...lock, kind: "none", range: { start: 0, end: Infinity } };
    const operation: FileOperation = [10, ...lockFields(this.ino, all), 0, 0];
    const what = () => `unlock inode ${this.ino}`;
    try {
      await this.#volume.operate(operation, what);
    } catch (e) {
      if (e instanceof FileError) throw e;
      return locks.giveUp(this.ino, lock, this.#volume.eventually(operation, what));
    }
    locks.released(this.ino, lock);
  }

  /** A range is read or written by who locks it; a flock says nothing of that. */
  #mayLock({ type, kind }: LockRequest): boolean {
    const { read, write, append } = this.#flags;
    if (type === "flock" || kind === "none") return true;
    return kind === "shared" ? read === true : write === true || append === true;
  }

  #check(verb: string, isAllowed = true): void {
    if (this.#closed) throw new FileError("EBADF", `cannot ${verb} inode ${this.ino}: it was closed`);
    if (!isAllowed)
      throw new FileError("EBADF", `cannot ${verb} inode ${this.ino}: it was not opened for that`);
  }
}

type LockFields = [ino: number, type: number, kind: number, start: number, end: number, owner: string];

function lockFields(ino: number, { type, kind, range, owner }: LockRequest): LockFields {
  if (!ownerForm.test(owner)) {
    throw new FileError("EINVAL", "the owner of a lock has 1 to 64 printable characters");
  }
  const end = range.end === Infinity ? -1 : range.end;
  const isRange = Number.isSafeInteger(range.start) && range.start >= 0 && Number.isSafeInteger(end);
  if (!isRange || (end !== -1 && end <= range.start)) {
    throw new FileError("EINVAL", `cannot lock bytes [${range.start}, ${range.end})`);
  }
  return [ino, lockTypes[type], lockKinds[kind], range.start, end, owner];
}

function isUnreadable(e: unknown): boolean {
  return e instanceof FileError && e.code === "EIO";
}

function checkRange(ino: number, offset: number, length: number): void {
  if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0) {
    throw new FileError("EINVAL", `cannot use ${length} bytes at ${offset} of inode ${ino}`);
  }
  if (offset + length > Number.MAX_SAFE_INTEGER) {
    throw new FileError("EFBIG", `inode ${ino} cannot have ${offset + length} bytes`);
  }
}
