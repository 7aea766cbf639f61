/** Cases on a volume: each place has a client of its own, each user at a place is a process. */
import { setTimeout as sleep } from "node:timers/promises";
import { checkAccess } from "../../core/files/access.ts";
import { type Attributes, type FileTime, kindMask, kinds } from "../../core/files/attributes.ts";
import { FileError } from "../../core/files/errno.ts";
import type { FileSystem, LockRange, LockRequest, OpenFile } from "../../core/files/file-system.ts";
import { PathCalls } from "../../core/files/path-calls.ts";
import { openPath } from "../../core/files/paths.ts";
import {
  type Answer,
  type Call,
  type Executor,
  type LockKind,
  type StatAnswer,
  type Step,
  users,
} from "./calls.ts";

interface Process {
  name: string;
  by: Step["by"];
  fs: FileSystem;
  calls: PathCalls;
  handles: Map<string, { file: OpenFile; directory: boolean }>;
  /** The lock that it waits for. */
  waiting: Promise<Answer> | null;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class VolumeExecutor implements Executor {
  readonly #places: readonly FileSystem[];
  readonly #root: number;
  readonly #processes = new Map<string, Process>();
  readonly #marks = new Map<string, Attributes>();

  /** A FileSystem for each place, and the directory that is "/" to the case. */
  constructor(places: readonly FileSystem[], root: number) {
    this.#places = places;
    this.#root = root;
  }

  async run({ by, at, call }: Step): Promise<Answer> {
    const name = `${by}-${at}`;
    let process = this.#processes.get(name);
    if (!process) {
      const fs = this.#places[at % this.#places.length]!.as(users[by]);
      const calls = new PathCalls(fs, { root: this.#root });
      process = { name, by, fs, calls, handles: new Map(), waiting: null };
      this.#processes.set(name, process);
    }
    if (call[0] === "waited") {
      const answer = await process.waiting!;
      process.waiting = null;
      return answer;
    }
    const answer = answered(this.#carryOut(process, call));
    if (!call[0].endsWith("Wait")) return answer;
    process.waiting = answer;
    // Until it is in the queue, as a real one is in the kernel's.
    await sleep(50);
    return { value: null };
  }

  async close(): Promise<void> {
    for (const process of this.#processes.values()) {
      for (const handle of process.handles.keys()) await this.#closeHandle(process, handle);
      await process.waiting;
    }
  }

  async #carryOut(process: Process, call: Call): Promise<unknown> {
    const { calls, fs } = process;
    const file = (handle: string) => {
      const open = process.handles.get(handle);
      if (!open) throw new FileError("EBADF", handle);
      return open.file;
    };
    switch (call[0]) {
      case "open": {
        const [, handle, path, flags, mode = 0] = call;
        const has = (flag: (typeof flags)[number]) => flags.includes(flag);
        const opened = await openPath(fs, path, {
          root: this.#root,
          read: has("read") || !has("write"),
          write: has("write"),
          append: has("append"),
          truncate: has("truncate"),
          exclusive: has("exclusive"),
          follow: !has("nofollow"),
          ...(has("create") && { create: mode }),
        });
        const directory = (opened.attributes.mode & kindMask) === kinds.directory;
        if (has("directory") && !directory) {
          await opened.file.close();
          throw new FileError("ENOTDIR", path);
        }
        process.handles.set(handle, { file: opened.file, directory });
        return null;
      }
      case "close":
        file(call[1]);
        await this.#closeHandle(process, call[1]);
        return null;
      case "read":
        return decoder.decode(await file(call[1]).read(call[2], call[3]));
      case "write": {
        const bytes = encoder.encode(call[3]);
        await file(call[1]).write(Math.max(0, call[2]), bytes);
        return bytes.length;
      }
      case "ftruncate":
        await file(call[1]).truncate(call[2]);
        return null;
      case "fstat":
        return statAnswer(await file(call[1]).attributes());
      case "fsync":
        await file(call[1]).sync();
        return null;
      case "fchmod":
        await fs.setAttributes(file(call[1]).ino, { mode: call[2] });
        return null;
      case "mkdir":
        await calls.mkdir(call[1], call[2]);
        return null;
      case "rmdir":
        await calls.rmdir(call[1]);
        return null;
      case "unlink":
        await calls.unlink(call[1]);
        return null;
      case "rename":
        await calls.rename(call[1], call[2]);
        return null;
      case "link":
        await calls.link(call[1], call[2]);
        return null;
      case "symlink":
        await calls.symlink(call[1], call[2]);
        return null;
      case "readlink":
        return calls.readlink(call[1]);
      case "stat":
        return statAnswer(await calls.stat(call[1]));
      case "lstat":
        return statAnswer(await calls.lstat(call[1]));
      case "chmod":
        await calls.change(call[1], { mode: call[2] });
        return null;
      case "chown":
      case "lchown":
        await calls.change(call[1], { uid: call[2], gid: call[3] }, { follow: call[0] === "chown" });
        return null;
      case "truncate":
        await calls.change(call[1], { size: call[2] });
        return null;
      case "utimes":
        await calls.change(call[1], { atime: timeOf(call[2]), mtime: timeOf(call[3]) });
        return null;
      case "list":
        return (await calls.list(call[1])).map(({ name }) => name).sort();
      case "access": {
        const wanted = { r: 4, w: 2, x: 1 };
        const bits = call[2].split("").reduce((all, letter) => all | wanted[letter as "r"], 0);
        checkAccess(await calls.stat(call[1]), users[process.by], bits);
        return null;
      }
      case "put": {
        const flags = { write: true, truncate: true, create: 0o644, root: this.#root };
        const { file: opened } = await openPath(fs, call[1], flags);
        try {
          await opened.write(0, encoder.encode(call[2]));
        } finally {
          await opened.close();
        }
        return null;
      }
      case "get": {
        const { file: opened, attributes } = await openPath(fs, call[1], { read: true, root: this.#root });
        try {
          if ((attributes.mode & kindMask) === kinds.directory) throw new FileError("EISDIR", call[1]);
          return brief(decoder.decode(await opened.read(0, attributes.size)));
        } finally {
          await opened.close();
        }
      }
      case "mark":
        this.#marks.set(call[1], await calls.lstat(call[1]));
        return null;
      case "moved": {
        const [before, now] = [this.#marks.get(call[1])!, await calls.lstat(call[1])];
        return [
          ...(isSame(before.mtime, now.mtime) ? [] : ["mtime"]),
          ...(isSame(before.ctime, now.ctime) ? [] : ["ctime"]),
        ];
      }
      case "flock":
      case "flockWait": {
        const request: LockRequest = {
          type: "flock",
          kind: call[2],
          range: { start: 0, end: Infinity },
          owner: flockOwner(process, call[1]),
          ...(call[0] === "flockWait" && { wait: true }),
        };
        await file(call[1]).lock(request);
        return null;
      }
      case "fcntl":
      case "fcntlWait":
        await file(call[1]).lock({
          ...posixLock(process, call[2], call[3], call[4]),
          ...(call[0] === "fcntlWait" && { wait: true }),
        });
        return null;
      case "holder": {
        const holder = await file(call[1]).lockedBy(posixLock(process, call[2], call[3], call[4]));
        if (!holder) return null;
        const { start, end } = holder.range;
        return { kind: holder.kind, start, length: end === Infinity ? 0 : end - start };
      }
      case "waited":
        throw new Error("answered above");
    }
  }

  async #closeHandle(process: Process, handle: string): Promise<void> {
    const { file } = process.handles.get(handle)!;
    process.handles.delete(handle);
    await file.close({ flockOwner: flockOwner(process, handle), posixOwner: process.name });
  }
}

async function answered(work: Promise<unknown>): Promise<Answer> {
  try {
    return { value: await work };
  } catch (e) {
    if (e instanceof FileError) return { error: e.code };
    throw e;
  }
}

function flockOwner({ name }: Process, handle: string): string {
  return `${name}-${handle}`;
}
function posixLock({ name }: Process, kind: LockKind, start: number, length: number): LockRequest {
  const range: LockRange = { start, end: length === 0 ? Infinity : start + length };
  return { type: "posix", kind, range, owner: name, pid: 1 };
}

function statAnswer({ mode, nlink, uid, gid, size }: Attributes): StatAnswer {
  const names = new Map<number, StatAnswer["kind"]>([
    [kinds.file, "file"],
    [kinds.directory, "directory"],
    [kinds.symlink, "symlink"],
  ]);
  const kind = names.get(mode & kindMask) ?? "other";
  const sized = kind === "file" || kind === "symlink" ? { size } : {};
  return { kind, mode: mode & 0o7777, nlink, uid, gid, ...sized };
}

function timeOf(seconds: number): FileTime {
  const whole = Math.floor(seconds);
  return { seconds: whole, nanos: Math.round((seconds - whole) * 1e9) };
}
function isSame(a: FileTime, b: FileTime): boolean {
  return a.seconds === b.seconds && a.nanos === b.nanos;
}
/** As real-child.ts has it. */
function brief(text: string): string {
  return text.length <= 100 ? text : `${text.length} characters, ${text.slice(0, 8)}…${text.slice(-8)}`;
}
