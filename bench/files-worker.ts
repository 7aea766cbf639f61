/**
 * A program that works on files of a directory, by the system's own calls, one after the other: what is measured of a
 * mount. Told jobs in lines of JSON; answers in lines `{seconds, n}`. `bun files-worker.ts DIR`
 */
import { dlopen, FFIType } from "bun:ffi";
import * as fs from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

export type FilesJob =
  /** `unlink` removes what was renamed, `remove` what was not. `sync`: the file, or the directory, after each. */
  | { job: "create" | "stat" | "rename" | "unlink" | "remove"; prefix: string; n: number; sync?: boolean }
  /** All names of the directory, `n` times. */
  | { job: "list"; prefix: string; n: number }
  | { job: "seqWrite" | "seqRead"; prefix: string; bytes: number };
export interface FilesDone {
  seconds: number;
  n: number;
}

const dontNeed = 4;
const libc = dlopen("libc.so.6", {
  posix_fadvise: { args: [FFIType.i32, FFIType.i64, FFIType.i64, FFIType.i32], returns: FFIType.i32 },
}).symbols;

const dir = process.argv[2]!;
const piece = Buffer.alloc(1 << 20, "a piece of a large file that is written and read");

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line) as FilesJob;
  const began = performance.now();
  const n = work(job);
  console.log(JSON.stringify({ seconds: (performance.now() - began) / 1_000, n } satisfies FilesDone));
}

function syncDirectory(): void {
  const fd = fs.openSync(dir, "r");
  fs.fsyncSync(fd);
  fs.closeSync(fd);
}

function work(job: FilesJob): number {
  switch (job.job) {
    case "create":
      for (let i = 0; i < job.n; i++) {
        const fd = fs.openSync(join(dir, `${job.prefix}${i}`), "w");
        if (job.sync) fs.fsyncSync(fd);
        fs.closeSync(fd);
      }
      return job.n;
    case "stat":
      for (let i = 0; i < job.n; i++) fs.statSync(join(dir, `${job.prefix}${i}`));
      return job.n;
    case "rename":
      for (let i = 0; i < job.n; i++) {
        fs.renameSync(join(dir, `${job.prefix}${i}`), join(dir, `${job.prefix}renamed-${i}`));
        if (job.sync) syncDirectory();
      }
      return job.n;
    case "unlink":
      for (let i = 0; i < job.n; i++) {
        fs.unlinkSync(join(dir, `${job.prefix}renamed-${i}`));
        if (job.sync) syncDirectory();
      }
      return job.n;
    case "remove":
      for (let i = 0; i < job.n; i++) fs.unlinkSync(join(dir, `${job.prefix}${i}`));
      return job.n;
    case "list":
      for (let i = 0; i < job.n; i++) fs.readdirSync(dir);
      return job.n;
    case "seqWrite": {
      const fd = fs.openSync(join(dir, `${job.prefix}large`), "w");
      for (let at = 0; at < job.bytes; at += piece.length) fs.writeSync(fd, piece, 0, piece.length, at);
      fs.fsyncSync(fd);
      fs.closeSync(fd);
      return job.bytes;
    }
    case "seqRead": {
      const fd = fs.openSync(join(dir, `${job.prefix}large`), "r");
      let at = 0;
      // Else the kernel answers from what was written a moment ago, and no file system is asked.
      libc.posix_fadvise(fd, 0, 0, dontNeed);
      for (let read = 1; read > 0; at += read) read = fs.readSync(fd, piece, 0, piece.length, at);
      fs.closeSync(fd);
      return at;
    }
  }
}
