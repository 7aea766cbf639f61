/**
 * How long things take to start, and how much memory a small cluster needs; always the compiled binary.
 *
 *   up-ready   `dvs up --nodes 3` from nothing until it returns: coordinator and three nodes are ready
 *   up-pss     sum of the proportional set sizes of all its host processes, with one web instance on three nodes
 *   help       `dvs --help`
 *   create     `dvs instance create` until the first byte from each of the three nodes; the image is there already
 *
 *   bun bench/start.ts [--rounds 5]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../test/tools/free-port.ts";
import { emit, median, say } from "./lib.ts";

const binary = new URL("../dist/dvs", import.meta.url).pathname;
const site = new URL("../node_modules/bootstrap-icons/font", import.meta.url).pathname;
const roundsAt = process.argv.indexOf("--rounds");
const rounds = roundsAt < 0 ? 5 : Number(process.argv[roundsAt + 1]);

const startedMs = performance.now();
const ready: number[] = [];
const pss: number[] = [];
const create: number[] = [];
for (let round = 0; round < rounds; round++) {
  const home = mkdtempSync(join(tmpdir(), "dvs-bench-"));
  const env = { DVS_HOME: home };
  try {
    ready.push(await timed(["up", "--nodes", "3"], env));
    // The image: made once, used by the instance that is measured.
    await dvs(["image", "build", site, "--name", "site", "-q"], env);
    const port = await freePort();
    const createdMs = performance.now();
    await dvs(
      [
        "instance",
        "create",
        "web",
        "--os",
        "web",
        "--nodes",
        "3",
        "--image",
        "site",
        "--publish",
        String(port),
        "-q",
      ],
      env,
    );
    await Promise.all([1, 2, 3].map((k) => firstByte(`http://127.0.0.${k}:${port}/bootstrap-icons.css`)));
    create.push(performance.now() - createdMs);
    pss.push(pssOf(home));
    say(
      `round ${round + 1}: ready ${ready.at(-1)!.toFixed(0)} ms, create ${create.at(-1)!.toFixed(0)} ms, ${pss.at(-1)!.toFixed(0)} MB`,
    );
  } finally {
    await dvs(["down", "-q"], env);
    rmSync(home, { recursive: true, force: true });
  }
}
const help: number[] = [];
for (let i = 0; i < rounds * 8; i++) help.push(await timed(["--help"], {}));

const seconds = Math.round((performance.now() - startedMs) / 1000);
emit({
  name: "up-ready",
  value: median(ready),
  unit: "ms",
  n: rounds,
  rounds,
  seconds,
  goal: "<= 2000",
  detail: { all: ready.map(Math.round) },
});
emit({ name: "up-pss", value: median(pss), unit: "MB", n: rounds, rounds, seconds, goal: "<= 250" });
emit({ name: "help", value: median(help), unit: "ms", n: help.length, rounds, seconds, goal: "<= 30" });
emit({
  name: "create",
  value: median(create),
  unit: "ms",
  n: rounds,
  rounds,
  seconds,
  goal: "<= 500",
  detail: { all: create.map(Math.round) },
});

async function timed(args: string[], env: Record<string, string>): Promise<number> {
  const startMs = performance.now();
  await dvs(args, env);
  return performance.now() - startMs;
}

function dvs(args: string[], env: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(binary, args, {
      env: { ...process.env, ...env },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (d: Uint8Array) => (stderr += new TextDecoder().decode(d)));
    child.on("error", reject);
    // `exit`, not `close`: the host processes that `up` starts must not be waited for.
    child.on("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`dvs ${args.join(" ")} ended with ${code}: ${stderr}`)),
    );
  });
}

async function firstByte(url: string): Promise<void> {
  for (;;) {
    try {
      const response = await fetch(url);
      if (response.ok) return void (await response.arrayBuffer());
    } catch {
      // not open yet
    }
    await new Promise((r) => setTimeout(r, 2));
  }
}

/** MB of all host processes whose command line or environment names this home. */
function pssOf(home: string): number {
  let kilobytes = 0;
  for (const pid of readdirSync("/proc").filter((p) => /^\d+$/.test(p))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(home)) continue;
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
    } catch {
      // it ended meanwhile
    }
  }
  if (kilobytes === 0) throw new Error("found no host process of the cluster");
  return kilobytes / 1024;
}
