/** Real mounts: programs of the system on a volume, through two mount points at once. */
import { afterEach, describe, expect, test } from "bun:test";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { threadsWanted } from "../../../core/fuse/device.ts";
import { checkMayMount, isDead, mountedAt, unmount } from "../../../core/fuse/mount-point.ts";
import type { CachePolicy } from "../../../core/fuse/cache-policy.ts";
import { obstacleToMounts } from "./obstacle.ts";

interface Served {
  process: ChildProcess;
  pid: number;
  a: string;
  b: string;
  said(): string;
  ended: Promise<number | null>;
}

const why = obstacleToMounts();
const served: Served[] = [];
const dirs: string[] = [];

async function serve(cache: CachePolicy = "none"): Promise<Served> {
  const root = mkdtempSync(join(tmpdir(), "dvs-fuse-"));
  dirs.push(root);
  // For other users, too.
  chmodSync(root, 0o755);
  const [a, b] = [join(root, "a"), join(root, "b")];
  mkdirSync(a);
  mkdirSync(b);
  const child = spawn(process.execPath, [join(import.meta.dir, "serve-lone.ts"), cache, a, b], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, UV_THREADPOOL_SIZE: String(2 * threadsWanted) },
  });
  let text = "";
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  await new Promise<void>((resolve, reject) => {
    child.stdout.on("data", (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      if (text.includes("ready\n")) resolve();
    });
    child.once("exit", () => reject(new Error(`it has ended: ${text}`)));
  });
  const one = { process: child, pid: child.pid!, a, b, said: () => text, ended };
  served.push(one);
  return one;
}

/** In a process of its own, with a and b in $A and $B; rejects with what it has said where it fails. */
function sh({ a, b }: Served, script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-euc", script], { env: { ...process.env, A: a, B: b }, timeout: 60_000 });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes: Uint8Array) => (out += new TextDecoder().decode(bytes)));
    }
    child.once("close", (code) => (code === 0 ? resolve(out.trim()) : reject(new Error(`${code}: ${out}`))));
  });
}

const has = (program: string) => Bun.which(program) !== null;

afterEach(async () => {
  for (const one of served.splice(0)) {
    one.process.kill("SIGKILL");
    await one.ended;
    for (const dir of [one.a, one.b]) if (await mountedAt(dir)) await unmount(dir, { lazy: true });
  }
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

describe.skipIf(why !== "")(`a mounted volume${why && ` (${why})`}`, () => {
  for (const cache of ["none", "open"] as const) {
    test(`takes a tree as it is, with the cache policy ${cache}`, async () => {
      const one = await serve(cache);
      const source = join(dirs.at(-1)!, "source");
      mkdirSync(join(source, "sub/deeper"), { recursive: true });
      for (let i = 0; i < 40; i++) writeFileSync(join(source, `sub/f${i}`), "x".repeat(i * 997));
      writeFileSync(join(source, "big"), Buffer.alloc(5_000_001, "0123456789"));
      await sh(
        one,
        `cd ${source}; ln -s big link; ln big hard; chmod 4751 sub/f1; touch -d 1969-05-05 sub/f2; mkfifo pipe`,
      );
      await sh(one, `cp -a ${source} $A/copy; diff -r --no-dereference ${source} $B/copy -x pipe`);
      const stats = (dir: string) =>
        sh(one, `cd ${dir}; find . ! -type d -printf '%p %m %n %s %T@ %y %l\\n' | sort`);
      expect(await stats("$B/copy")).toBe(await stats(source));
      await sh(
        one,
        `mkdir $B/tar; tar -C $A/copy -cf - . | tar -C $B/tar -xf -; diff -r --no-dereference $A/copy $A/tar -x pipe`,
      );
      await sh(one, "rm -r $B/copy $B/tar; rmdir $A/copy 2>/dev/null && exit 1; true");
    }, 60_000);
  }

  test("is seen by another node's mount at the next call, also where the file is open there", async () => {
    const one = await serve();
    const seen = await sh(
      one,
      `echo one >$A/f; exec 3<$B/f; cat <&3; echo two >>$A/f; cat <&3; mv $A/f $A/g; ls $B; stat -c %s $B/g; truncate -s 3 $A/g; stat -c %s $B/g`,
    );
    expect(seen.split("\n")).toEqual(["one", "two", "g", "8", "3"]);
  });

  test("keeps an unlinked file as long as somebody has it open", async () => {
    const one = await serve();
    expect(await sh(one, "echo kept >$A/f; exec 3<$A/f; rm $B/f; ls $A; cat <&3")).toBe("kept");
  });

  test("holds locks across mounts, and gives them up with whoever held them", async () => {
    const one = await serve();
    const script = `
      touch $A/f
      flock $A/f -c 'echo held; sleep 0.5; echo given' &
      sleep 0.2
      flock -n $B/f true && exit 1
      flock $B/f echo got
      wait`;
    expect((await sh(one, script)).split("\n")).toEqual(["held", "given", "got"]);
  });

  test("a wait for a lock ends when whoever waits is killed", async () => {
    const one = await serve();
    await sh(
      one,
      `touch $A/f; exec 3<$A/f; flock 3; timeout 0.3 flock $B/f true && exit 1; flock -u 3; flock -n $B/f true`,
    );
  });

  test("appends of two mounts do not overwrite one another", async () => {
    const one = await serve();
    const loop = (dir: string, text: string) => `(for i in $(seq 100); do echo ${text} >>${dir}/log; done)`;
    expect(
      await sh(
        one,
        `${loop("$A", "aaaa")} & ${loop("$B", "bbbbbb")}; wait; sort $A/log | uniq -c | tr -s ' '`,
      ),
    ).toBe("100 aaaa\n 100 bbbbbb");
  });

  test.skipIf(!has("git"))(
    "is good for git",
    async () => {
      const one = await serve();
      const git = "git -c user.name=x -c user.email=x@example.com";
      const script = `
      cd $A; git init -q r; cd r
      for i in $(seq 60); do echo $i >f$i; done
      git add .; ${git} commit -qm one
      git clone -q $B/r $B/clone
      cd $B/clone; git fsck --strict; git gc -q; git status --porcelain | wc -l; git log --oneline | wc -l`;
      expect((await sh(one, script)).split("\n").slice(-2)).toEqual(["0", "1"]);
    },
    60_000,
  );

  test.skipIf(!has("python3"))(
    "is good for SQLite, whose writers at two mounts exclude each other",
    async () => {
      const one = await serve();
      const add = (dir: string) =>
        `python3 -c "
import sqlite3
db = sqlite3.connect('${dir}/db', timeout=30, isolation_level=None)
for i in range(25):
    db.execute('begin immediate'); n = db.execute('select n from t').fetchone()[0]
    db.execute('update t set n = ?', (n + 1,)); db.execute('commit')
"`;
      const make = `python3 -c "
import sqlite3
db = sqlite3.connect('$A/db'); db.execute('create table t (n)'); db.execute('insert into t values (0)'); db.commit()
"`;
      const count = `python3 -c "
import sqlite3
print(sqlite3.connect('$A/db').execute('select n from t').fetchone()[0])
"`;
      expect(await sh(one, `${make}; ${add("$A")} & ${add("$B")}; wait; ${count}`)).toBe("50");
    },
    60_000,
  );

  test("refuses who has no right, by user, group and further groups", async () => {
    const one = await serve();
    const as = (groups: string) => `setpriv --reuid 1000 --regid 1000 ${groups} --`;
    const script = `
      echo secret >$A/f; chown 0:2000 $A/f; chmod 640 $A/f; chmod 755 $A
      ${as("--clear-groups")} cat $A/f 2>/dev/null && exit 1
      ${as("--groups 2000")} cat $A/f
      ${as("--groups 2000")} sh -c "echo x >$A/f" 2>/dev/null && exit 1
      ${as("--clear-groups")} touch $A/new 2>/dev/null && exit 1
      true`;
    expect(await sh(one, script)).toBe("secret");
  });

  test("to write takes set-user-ID away, and says what it cannot", async () => {
    const one = await serve();
    const script = `
      chmod 755 $A; echo x >$A/f; chmod 6777 $A/f
      setpriv --reuid 1000 --regid 1000 --clear-groups -- sh -c "echo y >>$A/f"; stat -c %a $A/f
      mknod $A/dev b 1 1 2>/dev/null && exit 1; ls $A`;
    expect((await sh(one, script)).split("\n")).toEqual(["777", "f"]);
  });

  test("ends by umount, and by SIGTERM also while it is used", async () => {
    const first = await serve();
    await sh(first, "umount $A; umount $B");
    expect(await first.ended).toBe(0);
    const second = await serve();
    const user = sh(second, "cd $A; exec sleep 30").catch(() => "");
    await sh(second, "sleep 0.2");
    second.process.kill("SIGTERM");
    expect(await second.ended).toBe(0);
    expect([await mountedAt(second.a), await mountedAt(second.b)]).toEqual([null, null]);
    void user;
  });

  test("that was killed leaves a dead mount point, which can be taken away", async () => {
    const one = await serve();
    expect(await isDead(one.a)).toBe(false);
    one.process.kill("SIGKILL");
    await one.ended;
    expect(await mountedAt(one.a)).toEqual({ source: "dvs:test-0", isOurs: true });
    expect(await isDead(one.a)).toBe(true);
    expect(await unmount(one.a, { lazy: true })).toBe("");
    expect(await mountedAt(one.a)).toBeNull();
  });
});

test("who may not mount is told what to do instead", () => {
  checkMayMount(0);
  expect(() => checkMayMount(1_000)).toThrow(/only root may, and this is user 1000.*unshare.*dvs ls/);
});
