/**
 * On whose behalf a request is: user and group are in it, further groups are looked up in /proc, by the thread that asks.
 * Of one in another pid namespace they are not known: it has none.
 */
import { readFileSync } from "node:fs";
import type { Credentials, FileSystem } from "../files/file-system.ts";
import type { Request } from "./request.ts";

const callersMax = 256;

export class Callers {
  readonly #fs: FileSystem;
  /** By user, group and groups. */
  readonly #known = new Map<string, FileSystem>();

  constructor(fs: FileSystem) {
    this.#fs = fs;
  }

  of(request: Pick<Request, "uid" | "gid" | "pid">): FileSystem {
    return this.as(credentialsOf(request));
  }

  as(who: Credentials): FileSystem {
    const key = `${who.uid} ${who.gid} ${who.groups?.join() ?? ""}`;
    let fs = this.#known.get(key);
    if (!fs) {
      if (this.#known.size >= callersMax) this.#known.clear();
      fs = this.#fs.as(who);
      this.#known.set(key, fs);
    }
    return fs;
  }
}

export function credentialsOf({ uid, gid, pid }: Pick<Request, "uid" | "gid" | "pid">): Credentials {
  // Root may everything, in whatever groups it is.
  return uid === 0 ? { uid, gid } : { uid, gid, groups: groupsOf(pid) };
}

function groupsOf(pid: number): number[] {
  if (pid === 0) return [];
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const line = /^Groups:(.*)$/m.exec(status)?.[1] ?? "";
    return line.split(" ").filter(Boolean).map(Number);
  } catch {
    // It was killed meanwhile.
    return [];
  }
}
