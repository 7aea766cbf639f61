/**
 * One caller on a real directory: a host process with the user's ids, which is told steps in lines of JSON and answers
 * in lines. `bun real-child.ts ROOT UID GID`
 */
import * as fs from "node:fs";
import { createInterface } from "node:readline";
import { flock, getLock, setLock } from "./locks-ffi.ts";
import type { Answer, Call, Flag, StatAnswer } from "./calls.ts";

const [root, uid, gid] = process.argv.slice(2);
process.umask(0);
if (Number(uid) !== 0) {
  process.setgroups!([]);
  process.setgid!(Number(gid));
  process.setuid!(Number(uid));
}

const { constants: o } = fs;
const flagBits: Record<Flag, number> = {
  read: 0,
  write: 0,
  create: o.O_CREAT,
  exclusive: o.O_EXCL,
  truncate: o.O_TRUNC,
  append: o.O_APPEND,
  directory: o.O_DIRECTORY,
  nofollow: o.O_NOFOLLOW,
};
const handles = new Map<string, number>();
const marks = new Map<string, fs.BigIntStats>();

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line) as Call))}\n`);
}

function answer(call: Call): Answer {
  try {
    return { value: carryOut(call) ?? null };
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    if (typeof code !== "string" || !/^E[A-Z0-9]+$/.test(code)) throw e;
    return { error: code };
  }
}

function carryOut(call: Call): unknown {
  switch (call[0]) {
    case "open": {
      const [, handle, path, flags, mode = 0] = call;
      const access = flags.includes("write") ? (flags.includes("read") ? o.O_RDWR : o.O_WRONLY) : o.O_RDONLY;
      handles.set(
        handle,
        fs.openSync(
          at(path),
          flags.reduce((bits, flag) => bits | flagBits[flag], access),
          mode,
        ),
      );
      return;
    }
    case "close":
      fs.closeSync(fd(call[1]));
      handles.delete(call[1]);
      return;
    case "read": {
      const bytes = Buffer.alloc(call[3]);
      if (call[3] === 0) return "";
      return bytes.subarray(0, fs.readSync(fd(call[1]), bytes, 0, call[3], call[2])).toString();
    }
    case "write": {
      const bytes = Buffer.from(call[3]);
      return fs.writeSync(fd(call[1]), bytes, 0, bytes.length, call[2] < 0 ? null : call[2]);
    }
    case "ftruncate":
      return fs.ftruncateSync(fd(call[1]), call[2]);
    case "fstat":
      return statAnswer(fs.fstatSync(fd(call[1])));
    case "fsync":
      return fs.fsyncSync(fd(call[1]));
    case "fchmod":
      return fs.fchmodSync(fd(call[1]), call[2]);
    case "mkdir":
      fs.mkdirSync(at(call[1]), call[2]);
      return;
    case "rmdir":
      return fs.rmdirSync(at(call[1]));
    case "unlink":
      return fs.unlinkSync(at(call[1]));
    case "rename":
      return fs.renameSync(at(call[1]), at(call[2]));
    case "link":
      return fs.linkSync(at(call[1]), at(call[2]));
    case "symlink":
      return fs.symlinkSync(call[1], at(call[2]));
    case "readlink":
      return fs.readlinkSync(at(call[1]));
    case "stat":
      return statAnswer(fs.statSync(at(call[1])));
    case "lstat":
      return statAnswer(fs.lstatSync(at(call[1])));
    case "chmod":
      return fs.chmodSync(at(call[1]), call[2]);
    case "chown":
      return fs.chownSync(at(call[1]), call[2], call[3]);
    case "lchown":
      return fs.lchownSync(at(call[1]), call[2], call[3]);
    case "truncate":
      return truncate(at(call[1]), call[2]);
    case "utimes":
      return fs.utimesSync(at(call[1]), call[2], call[3]);
    case "list":
      return fs.readdirSync(at(call[1])).sort();
    case "access":
      return fs.accessSync(
        at(call[1]),
        call[2].split("").reduce((bits, letter) => bits | { r: o.R_OK, w: o.W_OK, x: o.X_OK }[letter]!, 0),
      );
    case "flock":
    case "flockWait":
      return flock(fd(call[1]), call[2], call[0] === "flockWait");
    case "fcntl":
    case "fcntlWait":
      return setLock(fd(call[1]), call[2], call[3], call[4], call[0] === "fcntlWait");
    case "holder":
      return getLock(fd(call[1]), call[2], call[3], call[4]);
    case "waited":
      throw new Error("the executor answers this");
    case "put": {
      const file = fs.openSync(at(call[1]), o.O_WRONLY | o.O_CREAT | o.O_TRUNC, 0o644);
      try {
        if (call[2] !== "") fs.writeSync(file, Buffer.from(call[2]));
      } finally {
        fs.closeSync(file);
      }
      return;
    }
    case "get":
      return brief(fs.readFileSync(at(call[1])).toString());
    case "mark":
      marks.set(call[1], fs.lstatSync(at(call[1]), { bigint: true }));
      return;
    case "moved": {
      const [before, now] = [marks.get(call[1])!, fs.lstatSync(at(call[1]), { bigint: true })];
      return [
        ...(now.mtimeNs === before.mtimeNs ? [] : ["mtime"]),
        ...(now.ctimeNs === before.ctimeNs ? [] : ["ctime"]),
      ];
    }
  }
}

/** truncate(2), which node:fs makes of open and ftruncate: that refuses other things. */
function truncate(path: string, size: number): void {
  if (size < 0) throw Object.assign(new Error(), { code: "EINVAL" });
  const file = fs.openSync(path, o.O_WRONLY);
  try {
    fs.ftruncateSync(file, size);
  } finally {
    fs.closeSync(file);
  }
}

/** The path as it is, with all its dots and slashes: no join. */
function at(path: string): string {
  return `${root}${path}`;
}
function fd(handle: string): number {
  return handles.get(handle) ?? 1_000_000;
}
function statAnswer(stats: fs.Stats): StatAnswer {
  const kind = stats.isFile()
    ? "file"
    : stats.isDirectory()
      ? "directory"
      : stats.isSymbolicLink()
        ? "symlink"
        : "other";
  const { nlink, uid: owner, gid: group, size } = stats;
  const sized = kind === "file" || kind === "symlink" ? { size } : {};
  return { kind, mode: stats.mode & 0o7777, nlink, uid: owner, gid: group, ...sized };
}
/** Long contents by what they are made of. */
function brief(text: string): string {
  return text.length <= 100 ? text : `${text.length} characters, ${text.slice(0, 8)}…${text.slice(-8)}`;
}
