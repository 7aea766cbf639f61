/**
 * What somebody outside asks of an instance's file system: as JSON from the HTTP API through an agent, which answers in
 * lines of JSON, or in frames where it gives bytes (frames.ts).
 *
 * A change that is sent again under its name, `client`, is carried out once; a `put` may be sent again in any case.
 */
import { z } from "zod";
import { ERRORS, type ErrorCode } from "../../errors.ts";
import { fileEntriesMax, filePathBytesMax, filesPerAskMax } from "../../limits.ts";

/** From the root; "/" at its begin may be left out. The volume itself says what is wrong with it. */
const path = z
  .string()
  .max(filePathBytesMax, `must have at most ${filePathBytesMax} characters`)
  .refine((text) => !text.includes("\0"), "must have no NUL");
const client = z.string().regex(/^[A-Za-z0-9-]{8,64}$/, "must be 8 to 64 letters, digits and -");
const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const mode = z.number().int().min(0).max(0o7777);

export const FilesAsk = z.discriminatedUnion("what", [
  z.object({ what: z.literal("attributes"), path, follow: z.boolean() }),
  /** A directory; of something else that alone. */
  z.object({
    what: z.literal("list"),
    path,
    after: counter,
    limit: z.number().int().min(1).max(fileEntriesMax),
  }),
  z.object({ what: z.literal("usage") }),
  /** What is left out stays as it is. Answered as `usage`. */
  z.object({ what: z.literal("quota"), bytesMax: counter.optional(), inodesMax: counter.optional() }),
  /** Contents, one after the other. Answered in frames. */
  z.object({ what: z.literal("give"), paths: z.array(path).min(1).max(filesPerAskMax), offset: counter }),
  /** What the frames say, which the agent fetches. */
  z.object({ what: z.literal("put") }),
  /** `parents`: makes those that are missing, too, and is content with one that is there. */
  z.object({ what: z.literal("makeDirectory"), client, path, mode, parents: z.boolean() }),
  /** `recursive`: a directory with all that is in it. `missing`: that there is nothing is no failure. */
  z.object({
    what: z.literal("remove"),
    client,
    path,
    recursive: z.boolean(),
    missing: z.boolean(),
  }),
  /** Into `to`, where that is a directory. */
  z.object({ what: z.literal("rename"), client, path, to: path, replace: z.boolean() }),
  /** Ends when all that was written is on the disks. */
  z.object({ what: z.literal("sync") }),
]);
export type FilesAsk = z.infer<typeof FilesAsk>;

const time = z.tuple([z.number().int(), z.number().int().min(0).max(999_999_999)]);

export const FileEntryJson = z.object({
  /** Of the root "/". */
  name: z.string(),
  kind: z.enum(["file", "directory", "symlink", "fifo", "socket"]),
  mode,
  nlink: counter,
  uid: counter,
  gid: counter,
  size: counter,
  allocated: counter,
  /** Seconds since 1970 and nanoseconds. */
  mtime: time,
  ino: counter,
  /** Rises with each change of it. */
  change: counter,
  /** Of a symbolic link. */
  target: z.string().optional(),
});
export type FileEntryJson = z.infer<typeof FileEntryJson>;

export const FileEntriesJson = z.object({ entries: z.array(FileEntryJson), next: counter.nullable() });
export type FileEntriesJson = z.infer<typeof FileEntriesJson>;

export const FilesUsageJson = z.object({
  bytes: counter,
  bytesMax: counter,
  inodes: counter,
  inodesMax: counter,
  bytesFree: counter,
});
export type FilesUsageJson = z.infer<typeof FilesUsageJson>;

/** What was done: a path, where it has one. */
export const FilesDoneJson = z.object({ path: z.string() });

/** As in an ErrorBody. */
const failure = z.object({
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
});
const name = z.string().min(1).max(1_024);
const owner = z.tuple([counter, counter]).optional();

/** Headers of the frames of a `put`. `part` is the name beside it under which a file is until it is whole: of this content alone. */
export const PutFrame = z.discriminatedUnion("op", [
  z.object({ op: z.literal("directory"), path, mode }),
  z.object({ op: z.literal("attributes"), path, mode, mtime: time, owner }),
  z.object({ op: z.literal("link"), path, part: name, target: path, owner }),
  /** All of it. */
  z.object({ op: z.literal("file"), path, part: name, mode, mtime: time, owner }),
  z.object({ op: z.literal("piece"), path, part: name, offset: counter }),
  z.object({ op: z.literal("finish"), path, part: name, size: counter, mode, mtime: time, owner }),
]);
export type PutFrame = z.infer<typeof PutFrame>;

/** A line for each frame of a `put` that failed, by its number; then one that says how many there were. */
export const PutLine = z.union([z.object({ frame: counter, failure }), z.object({ frames: counter })]);
export type PutLine = z.infer<typeof PutLine>;

/** Headers of the frames of a `give`: a file begins; its bytes; it ends, or cannot be given. */
export const GiveFrame = z.discriminatedUnion("op", [
  z.object({ op: z.literal("begin"), file: counter, entry: FileEntryJson }),
  z.object({ op: z.literal("bytes"), file: counter }),
  z.object({ op: z.literal("end"), file: counter, change: counter }),
  z.object({ op: z.literal("failure"), file: counter, failure }),
  /** All of it ends here. */
  z.object({ op: z.literal("broken"), failure }),
]);
export type GiveFrame = z.infer<typeof GiveFrame>;
