/**
 * Serves a file system to the kernel: each request goes to its handler (handlers/), what that returns or throws is the
 * answer. Requests are carried out side by side, as they come; the kernel orders those that must not overtake.
 *
 * Never touches the mount point: a call to it from this process would wait for itself.
 */
import { DvsError, type ErrorCode } from "../errors.ts";
import { errnos, FileError } from "../files/errno.ts";
import type { FileSystem } from "../files/file-system.ts";
import { type OpcodeName, opcodeNames, opcodes } from "./abi.ts";
import { dataHeader, errorAnswer } from "./answer.ts";
import { Cache } from "./cache.ts";
import type { CachePolicy } from "./cache-policy.ts";
import type { Call, Handler, Mounted, Reply } from "./call.ts";
import { Callers } from "./callers.ts";
import type { FuseDevice } from "./device.ts";
import { Handles } from "./handles.ts";
import { access, getattr, setattr, statfs } from "./handlers/attributes.ts";
import { opendir, readdir, readdirplus, releasedir, syncAll } from "./handlers/directories.ts";
import {
  copyFileRange,
  copyFileRange64,
  create,
  flush,
  fsync,
  open,
  read,
  release,
  write,
} from "./handlers/files.ts";
import { getlk, setlk, setlkw } from "./handlers/locks.ts";
import {
  link,
  lookup,
  mkdir,
  mknod,
  readlink,
  rename,
  rename2,
  rmdir,
  symlink,
  unlink,
} from "./handlers/names.ts";
import { answerInit } from "./init.ts";
import { LockOwners } from "./lock-owners.ts";
import { MalformedRequest, Request } from "./request.ts";

/**
 * What is not here is answered with ENOSYS: the kernel does not ask again, and does without. Extended attributes are
 * "not supported" then, `fallocate` too (glibc's posix_fallocate writes zeros), holes are not told from data (lseek).
 */
const handlers: Partial<Record<OpcodeName, Handler>> = {
  LOOKUP: lookup,
  GETATTR: getattr,
  SETATTR: setattr,
  READLINK: readlink,
  SYMLINK: symlink,
  MKNOD: mknod,
  MKDIR: mkdir,
  UNLINK: unlink,
  RMDIR: rmdir,
  RENAME: rename,
  RENAME2: rename2,
  LINK: link,
  OPEN: open,
  CREATE: create,
  READ: read,
  WRITE: write,
  STATFS: statfs,
  FLUSH: flush,
  RELEASE: release,
  FSYNC: fsync,
  OPENDIR: opendir,
  READDIR: readdir,
  READDIRPLUS: readdirplus,
  RELEASEDIR: releasedir,
  FSYNCDIR: syncAll,
  SYNCFS: syncAll,
  GETLK: getlk,
  SETLK: setlk,
  SETLKW: setlkw,
  ACCESS: access,
  COPY_FILE_RANGE: copyFileRange,
  COPY_FILE_RANGE_64: copyFileRange64,
  // Inodes live as long as they are named or open, whether the kernel remembers them or not.
  FORGET: () => "nothing",
  BATCH_FORGET: () => "nothing",
  DESTROY: () => "done",
};

const byOpcode: ReadonlyMap<number, Handler> = new Map(
  Object.entries(handlers).map(([name, handler]) => [opcodes[name as OpcodeName], handler]),
);

export interface FuseServerOptions {
  /** With the rights of uid 0: permissions are checked for whoever asks. */
  fs: FileSystem;
  cache: CachePolicy;
  device: Pick<FuseDevice, "send" | "sendData" | "notify">;
  /** What the kernel cannot be told: why something is EIO. */
  log: (message: string) => void;
}

export class FuseServer {
  readonly #mounted: Mounted;
  readonly #device: FuseServerOptions["device"];
  readonly #log: FuseServerOptions["log"];
  /** Under way, by `unique`; with a controller where somebody may stop waiting. */
  readonly #underWay = new Map<number, AbortController | null>();
  readonly #ending = new AbortController();
  #onReady: () => void = () => {};
  /** Resolves when the kernel has been answered its INIT: the mount point works. */
  readonly ready = new Promise<void>((resolve) => (this.#onReady = resolve));

  constructor({ fs, cache, device, log }: FuseServerOptions) {
    const handles = new Handles();
    this.#device = device;
    this.#log = log;
    this.#mounted = {
      ...{ fs, handles },
      callers: new Callers(fs),
      cache: new Cache(cache),
      locks: new LockOwners(),
    };
  }

  /** Some request has no answer yet. */
  get isBusy(): boolean {
    return this.#underWay.size > 0;
  }

  /** `done` is called when the bytes are not needed any more. */
  onRequest(bytes: Uint8Array, done: () => void): void {
    let request: Request;
    try {
      request = new Request(bytes);
    } catch (e) {
      // Without a header there is nobody to answer.
      this.#log(String(e));
      return done();
    }
    if (request.opcode === opcodes.INIT) this.#init(request);
    else if (request.opcode === opcodes.INTERRUPT) this.#interrupt(request);
    else return this.#carryOut(request, done);
    done();
  }

  /** Everything that is open is given back, and nothing waits any more. */
  async close(): Promise<void> {
    this.#ending.abort();
    for (const waiting of this.#underWay.values()) waiting?.abort();
    await this.#mounted.handles.closeAll();
  }

  #init(request: Request): void {
    const { cache, fs, handles } = this.#mounted;
    try {
      const { answer } = answerInit(request, cache.wanted);
      this.#device.send(answer.finish(request.unique));
      const notify = (bytes: Uint8Array) => this.#device.notify(bytes);
      void cache.follow(fs, handles, notify, this.#ending.signal);
      this.#onReady();
    } catch (e) {
      this.#refuse(request, e);
    }
  }

  /** Of a request that has not come yet, since several are read at a time: the kernel says it again. */
  #interrupt(request: Request): void {
    const of = request.u64(0);
    const waiting = this.#underWay.get(of);
    if (waiting === undefined) this.#device.send(errorAnswer(request.unique, errnos.EAGAIN));
    else waiting?.abort();
  }

  #carryOut(request: Request, done: () => void): void {
    const { unique } = request;
    const handler = byOpcode.get(request.opcode);
    if (!handler) {
      this.#device.send(errorAnswer(unique, errnos.ENOSYS));
      return done();
    }
    this.#underWay.set(unique, null);
    const finished = () => {
      this.#underWay.delete(unique);
      done();
    };
    try {
      const reply = handler(this.#call(request));
      if (!(reply instanceof Promise)) {
        finished();
        return this.#answer(unique, reply);
      }
      reply.then(
        (value) => {
          finished();
          this.#answer(unique, value);
        },
        (e: unknown) => {
          finished();
          this.#refuse(request, e);
        },
      );
    } catch (e) {
      finished();
      this.#refuse(request, e);
    }
  }

  #call(request: Request): Call {
    const mounted = this.#mounted;
    return {
      ...mounted,
      request,
      caller: () => mounted.callers.of(request),
      interrupted: () => {
        const controller = new AbortController();
        this.#underWay.set(request.unique, controller);
        return controller.signal;
      },
    };
  }

  #answer(unique: number, reply: Reply): void {
    if (reply === "nothing") return;
    try {
      if (reply === "done") this.#device.send(errorAnswer(unique, 0));
      else if (reply instanceof Uint8Array) this.#device.sendData(dataHeader(unique, reply.length), reply);
      else this.#device.send(reply.finish(unique));
    } catch (e) {
      // Whoever waits for it is not left waiting.
      this.#log(DvsError.from(e).message);
      this.#device.send(errorAnswer(unique, errnos.EIO));
    }
  }

  #refuse(request: Request, thrown: unknown): void {
    const { errno, isExpected } = errnoOf(thrown);
    if (!isExpected) {
      const name = opcodeNames.get(request.opcode) ?? `opcode ${request.opcode}`;
      this.#log(`${name} of inode ${request.nodeid}: ${DvsError.from(thrown).message}`);
    }
    this.#device.send(errorAnswer(request.unique, errno));
  }
}

/** ETIMEDOUT where it was surely not carried out and may be asked again, EIO where nobody knows. */
const ofDvsErrors: Partial<Record<ErrorCode, number>> = {
  UNAVAILABLE: errnos.ETIMEDOUT,
  TIMEOUT: errnos.ETIMEDOUT,
  EXHAUSTED: errnos.ENOSPC,
  TOO_LARGE: errnos.EFBIG,
  INVALID: errnos.EINVAL,
};

function errnoOf(thrown: unknown): { errno: number; isExpected: boolean } {
  if (thrown instanceof FileError) {
    return { errno: thrown.errno, isExpected: !(thrown instanceof MalformedRequest) };
  }
  const code = thrown instanceof DvsError ? thrown.code : "INTERNAL";
  return { errno: ofDvsErrors[code] ?? errnos.EIO, isExpected: false };
}
