/**
 * Programs that know nothing of dvs on an instance's files, mounted on two nodes at once: what they wrote is whole, also
 * when the primary is killed while they write.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Mounts, whyNoMounts } from "../tools/mounts.ts";
import { StateCluster } from "../tools/state-cluster.ts";

const timeout = 180_000;
const why = whyNoMounts();
let cluster: StateCluster;
let mounts: Mounts;
/** The same files, on two nodes. */
let a: string;
let b: string;

beforeAll(async () => {
  if (why !== null) return;
  cluster = await StateCluster.open({ replicas: 3, durability: "fsync", supervised: true });
  mounts = new Mounts(cluster);
  a = await mounts.open(cluster.backup);
  b = await mounts.open((cluster.backup + 1) % 3);
}, timeout);
afterAll(async () => {
  await mounts?.close();
  await cluster?.close();
}, timeout);

/** A test that needs programs, skipped with a reason where they are not. */
function programs(names: string[], fact: string, run: () => Promise<void>): void {
  const missing = names.filter((name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0);
  const reason = why ?? (missing.length > 0 ? `there is no ${missing.join(", ")}` : null);
  test.skipIf(reason !== null)(reason === null ? fact : `${fact} (skipped: ${reason})`, run, timeout);
}

const environment = {
  ...process.env,
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "t",
  GIT_AUTHOR_EMAIL: "t@example.com",
  GIT_COMMITTER_NAME: "t",
  GIT_COMMITTER_EMAIL: "t@example.com",
};

/** Its output. Rejects with all that it said where it fails. */
async function sh(cwd: string, script: string): Promise<string> {
  // Not in this process: it plays the coordinator meanwhile.
  const child = spawn("bash", ["-euo", "pipefail", "-c", script], { cwd, env: environment });
  let said = "";
  let out = "";
  child.stdout.on("data", (bytes: Buffer) => {
    said += String(bytes);
    out += String(bytes);
  });
  child.stderr.on("data", (bytes: Buffer) => (said += String(bytes)));
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`${script}\nended with ${code}: ${said}`);
  return out.trim();
}

programs(
  ["git"],
  "a repository that one node makes, another clones; fsck and gc find nothing wrong",
  async () => {
    await sh(
      a,
      `mkdir repo; cd repo; git init -q .; for i in $(seq 60); do mkdir -p d$((i % 7)); echo "text $i" > d$((i % 7))/f$i; done; git add .; git commit -qm first`,
    );
    expect(await sh(b, "cd repo; git status --porcelain; git fsck --full --strict 2>&1")).toBe("");
    await Promise.all([
      sh(b, "git clone -q --no-local repo clone"),
      sh(a, "cd repo; for i in 1 2 3 4 5; do echo $i > more; git add more; git commit -qm more$i; done"),
    ]);
    await sh(a, "cd clone; git fsck --full --strict; git pull -q");
    await sh(b, "cd repo; git gc -q --prune=now; git fsck --full --strict");
    expect(await sh(a, "cd repo; git rev-list --count HEAD; cd ../clone; git rev-list --count HEAD")).toBe(
      "6\n6",
    );
  },
);

programs(
  ["sqlite3"],
  "two nodes write to one SQLite database with its own locks: nothing is lost",
  async () => {
    const sqlite = "sqlite3 -batch -cmd '.timeout 60000'";
    await sh(
      a,
      `mkdir db; cd db; ${sqlite} counters.db 'CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0); CREATE TABLE row (who TEXT, i INTEGER)'`,
    );
    const writes = (who: string) =>
      `cd db; for i in $(seq 15); do ${sqlite} counters.db "BEGIN IMMEDIATE; UPDATE counter SET n = n + 1; INSERT INTO row VALUES ('${who}', $i); COMMIT" > /dev/null; done`;
    await Promise.all([sh(a, writes("a")), sh(b, writes("b"))]);
    expect(
      await sh(
        b,
        `cd db; ${sqlite} counters.db 'SELECT n FROM counter; SELECT count(*) FROM row; PRAGMA integrity_check'`,
      ),
    ).toBe("30\n30\nok");
  },
);

programs(["tar", "diff"], "what one node packs the other unpacks", async () => {
  await sh(
    a,
    "mkdir tree; cd tree; for i in $(seq 40); do mkdir -p s$((i % 5)); head -c $((i * 997)) /dev/urandom > s$((i % 5))/f$i; chmod $((600 + i % 7)) s$((i % 5))/f$i; done; ln -s s1/f1 link; ln s2/f2 hard; tar cf ../tree.tar .",
  );
  await sh(b, "mkdir unpacked; tar xpf tree.tar -C unpacked; diff -r tree unpacked");
  expect(
    await sh(
      a,
      "cd unpacked; readlink link; stat -c %h hard; cd ../tree; find . -printf '%p %m %s\\n' | grep -v '^\\. ' | sort | md5sum",
    ),
  ).toBe(
    await sh(
      b,
      "cd unpacked; readlink link; stat -c %h hard; find . -printf '%p %m %s\\n' | grep -v '^\\. ' | sort | md5sum",
    ),
  );
});

programs(
  ["rsync"],
  "rsync copies in, and finds nothing to do the second time, on the other node",
  async () => {
    const source = import.meta.dirname;
    await sh(a, `rsync -a ${source}/ copied/`);
    expect(await sh(b, `rsync -ai ${source}/ copied/ | grep -v '/$' || true`)).toBe("");
    expect(await sh(b, `rsync -aci ${source}/ copied/ | grep -v '/$' || true`)).toBe("");
  },
);

programs(["cc"], "a compiler builds on one node what the other runs", async () => {
  await sh(
    a,
    `mkdir build; cd build; for i in $(seq 8); do echo "int f$i(void) { return $i; }" > f$i.c; done; { for i in $(seq 8); do echo "int f$i(void);"; done; echo "int main(void) { return f1()+f2()+f3()+f4()+f5()+f6()+f7()+f8() == 36 ? 0 : 1; }"; } > main.c`,
  );
  await Promise.all([
    sh(a, "cd build; cc -O1 -c f1.c f2.c f3.c f4.c main.c"),
    sh(b, "cd build; cc -O1 -c f5.c f6.c f7.c f8.c"),
  ]);
  await sh(a, "cd build; cc -o program *.o");
  await sh(b, "cd build; ./program");
});

programs(
  ["git", "sqlite3"],
  "the primary is killed while programs write: repository and database are whole, and have what was told to be there",
  async () => {
    const sqlite = "sqlite3 -batch -cmd '.timeout 60000' -cmd 'PRAGMA synchronous=FULL'";
    await sh(
      a,
      `mkdir crash; cd crash; git init -q repo; ${sqlite} rows.db 'CREATE TABLE row (i INTEGER PRIMARY KEY)'`,
    );
    // Each says what has ended well.
    const commits = sh(
      a,
      "cd crash/repo; for i in $(seq 25); do echo $i > f$i; git add f$i; git commit -qm c$i; echo $i; done",
    );
    const rows = sh(
      b,
      `cd crash; for i in $(seq 40); do ${sqlite} rows.db "INSERT INTO row VALUES ($i)" > /dev/null; echo $i; done`,
    );
    await sleep(1_000);
    const { primary } = cluster;
    await cluster.kill(primary);
    await sleep(1_500);
    cluster.restart(primary);
    const [committed, inserted] = await Promise.all([commits, rows]);
    expect([committed.split("\n").length, inserted.split("\n").length]).toEqual([25, 40]);
    await cluster.allInSync();
    for (const dir of [a, b]) {
      expect(
        await sh(
          dir,
          "cd crash/repo; git fsck --full --strict; git rev-list --count HEAD; git status --porcelain",
        ),
      ).toBe("25");
      expect(
        await sh(dir, `cd crash; ${sqlite} rows.db 'SELECT count(*) FROM row; PRAGMA integrity_check'`),
      ).toBe("40\nok");
    }
  },
);
