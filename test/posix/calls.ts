/**
 * The language of the POSIX suite: cases of system calls whose answers were recorded on a real Linux (record.ts), and
 * are then asked of everything that claims to be a file system of ours (the volume's module, the interface of VOSes,
 * the mount), from one node or from several.
 */

/** Who calls: root, or one of two people in no common group. */
export type User = "root" | "alice" | "bob";
export const users: Record<User, { uid: number; gid: number }> = {
  root: { uid: 0, gid: 0 },
  alice: { uid: 1101, gid: 1101 },
  bob: { uid: 1102, gid: 1102 },
};

/** From which node. Where there are fewer nodes than a case names, they are taken in turn. */
export type Place = 0 | 1 | 2;

/** Names of O_ flags. */
export type Flag =
  "read" | "write" | "create" | "exclusive" | "truncate" | "append" | "directory" | "nofollow";

export type LockKind = "shared" | "exclusive" | "none";

/** Paths begin at an empty directory of root's with mode 0777. Handles are names that the case chooses. */
export type Call =
  | ["open", handle: string, path: string, flags: Flag[], mode?: number]
  | ["close", handle: string]
  /** Text at an offset; fewer bytes at the end. */
  | ["read", handle: string, offset: number, length: number]
  /** −1: wherever the file's own offset is, or the end with "append". The number of bytes. */
  | ["write", handle: string, offset: number, text: string]
  | ["ftruncate", handle: string, size: number]
  | ["fstat", handle: string]
  | ["fsync", handle: string]
  | ["fchmod", handle: string, mode: number]
  | ["mkdir", path: string, mode: number]
  | ["rmdir", path: string]
  | ["unlink", path: string]
  | ["rename", from: string, to: string]
  | ["link", from: string, to: string]
  | ["symlink", target: string, path: string]
  | ["readlink", path: string]
  | ["stat", path: string]
  | ["lstat", path: string]
  | ["chmod", path: string, mode: number]
  | ["chown", path: string, uid: number, gid: number]
  | ["lchown", path: string, uid: number, gid: number]
  | ["truncate", path: string, size: number]
  /** Seconds, with a fraction. */
  | ["utimes", path: string, atime: number, mtime: number]
  /** Names, sorted. */
  | ["list", path: string]
  /** "r", "w", "x" */
  | ["access", path: string, how: string]
  /** Without waiting. */
  | ["flock", handle: string, kind: LockKind]
  /** A range by process; a length of 0 goes to the end. Without waiting. */
  | ["fcntl", handle: string, kind: LockKind, start: number, length: number]
  /** Begins to wait: the process does nothing else until `waited`, which gives the answer. */
  | ["flockWait", handle: string, kind: LockKind]
  | ["fcntlWait", handle: string, kind: LockKind, start: number, length: number]
  | ["waited"]
  /** Which lock is in the way of one: null or {kind, start, length}. */
  | ["holder", handle: string, kind: LockKind, start: number, length: number]
  /** A new file with this text. */
  | ["put", path: string, text: string]
  /** All of a file as text. */
  | ["get", path: string]
  /** Remembers the times of a path … */
  | ["mark", path: string]
  /** … and tells which have moved since, of "mtime" and "ctime". */
  | ["moved", path: string];

export interface Step {
  by: User;
  at: Place;
  call: Call;
}

/** A value, or the name of an errno. */
export type Answer = { value: unknown } | { error: string };

/** What `stat` answers: all that is the same on each Linux. */
export interface StatAnswer {
  kind: "file" | "directory" | "symlink" | "other";
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** Of files and links. */
  size?: number;
}

export interface Case {
  /** A fact. */
  name: string;
  steps: Step[];
}

/** Carries steps out, each for the user and at the place that it names. */
export interface Executor {
  run(step: Step): Promise<Answer>;
  close(): Promise<void>;
}

type Short = Call | { by?: User; at?: Place; call: Call };

/** Steps of root at node 0, unless they say otherwise. */
export function posixCase(name: string, steps: readonly Short[]): Case {
  const full = steps.map((step) =>
    Array.isArray(step)
      ? { by: "root" as const, at: 0 as const, call: step }
      : { by: step.by ?? ("root" as const), at: step.at ?? (0 as const), call: step.call },
  );
  return { name, steps: full };
}

export function alice(...call: Call): Short {
  return { by: "alice", call };
}
export function bob(...call: Call): Short {
  return { by: "bob", call };
}
/** From another node than the one before. */
export function there(...call: Call): Short {
  return { at: 1, call };
}
export function elsewhere(...call: Call): Short {
  return { at: 2, call };
}
