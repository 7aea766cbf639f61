/** What people do with git on a file system: clone a repository, ask what has changed, check all of it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd, checkBeginning } from "../endings.ts";

const files = 300;
const directories = 30;
const commits = 40;
/** Of each commit after the first. */
const changed = 10;

const environment = { ...process.env, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" };

export class GitWork {
  readonly what = `git clone, status, fsck of ${files} files and ${commits} commits`;
  readonly #source: string;
  readonly #children = new Set<ChildProcess>();
  readonly close: () => Promise<void>;
  #runs = 0;

  /** A repository on this machine's own disk, the same one each time. */
  static async prepare(): Promise<GitWork> {
    const work = new GitWork();
    await work.#run("git", ["init", "-q", "--bare", "-b", "main", work.#source]);
    await work.#run("git", ["-C", work.#source, "fast-import", "--quiet"], history());
    return work;
  }

  private constructor() {
    checkBeginning();
    this.#source = mkdtempSync(join(tmpdir(), "dvs-git-"));
    this.close = atEnd(() => {
      for (const child of this.#children) child.kill("SIGKILL");
      rmSync(this.#source, { recursive: true, force: true });
    });
  }

  /** Once, on an own clone in that directory, which is removed again. */
  async perSecond(dir: string): Promise<number> {
    const clone = join(dir, `clone-${this.#runs++}`);
    const began = performance.now();
    await this.#run("git", ["clone", "-q", `file://${this.#source}`, clone]);
    const dirty = await this.#run("git", ["-C", clone, "status", "--porcelain"]);
    await this.#run("git", ["-C", clone, "fsck", "--no-progress"]);
    const seconds = (performance.now() - began) / 1_000;
    if (dirty !== "") throw new Error(`a clone that differs from its commit: ${dirty.slice(0, 200)}`);
    await this.#run("rm", ["-rf", clone]);
    return 1 / seconds;
  }

  /** Its output. Never in this process: it serves the replicas meanwhile. */
  #run(command: string, args: string[], input = ""): Promise<string> {
    const child = spawn(command, args, { env: environment, stdio: ["pipe", "pipe", "pipe"] });
    this.#children.add(child);
    let out = "";
    let failure = "";
    child.stdout.on("data", (bytes: Buffer) => (out += String(bytes)));
    child.stderr.on("data", (bytes: Buffer) => (failure += String(bytes)));
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        this.#children.delete(child);
        if (code === 0) resolve(out);
        else reject(new Error(`${command} ${args[0]} ended with ${code}: ${failure.slice(0, 500)}`));
      });
    });
  }
}

/** For `git fast-import`. */
function history(): string {
  const lines: string[] = [];
  for (let commit = 0; commit < commits; commit++) {
    lines.push(
      "commit refs/heads/main",
      `committer Bench <bench@example.com> ${1_700_000_000 + commit} +0000`,
    );
    lines.push(...data(`commit ${commit}`));
    const touched = commit === 0 ? files : changed;
    for (let i = 0; i < touched; i++) {
      const file = commit === 0 ? i : (commit * 37 + i * 11) % files;
      lines.push(`M 100644 inline d${file % directories}/f${file}.txt`, ...data(content(file, commit)));
    }
  }
  return `${lines.join("\n")}\n`;
}

function data(text: string): string[] {
  return [`data ${text.length}`, text];
}

/** 2 to 10 KiB that do not compress to nothing. */
function content(file: number, commit: number): string {
  let state = file * 7_919 + commit * 104_729 + 1;
  const words = 300 + (file % 20) * 60;
  const word = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state.toString(36);
  };
  return Array.from({ length: words }, (_, i) => (i % 12 === 11 ? `${word()}\n` : word())).join(" ");
}
