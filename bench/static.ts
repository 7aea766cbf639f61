/**
 * One container against nginx: the same files, the same core, both writing an access log. Short rounds, the two taking
 * turns, so that noise of the machine meets both; the ratio is the median of the rounds' ratios.
 *
 *   bun bench/static.ts [--rounds 5] [--seconds 3] [--unpinned]
 *
 * The servers run on CPU 0 and wrk on CPU 1 where taskset is there and nothing says `--unpinned`.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlobStore } from "../core/image/blob-store.ts";
import { buildImage } from "../core/image/builder.ts";
import type { ContainerBoot } from "../core/container/control.ts";
import { freePort } from "../test/tools/free-port.ts";
import { answers, stop, wrk } from "./http-rival.ts";
import { emit, median, say } from "./lib.ts";

const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const rounds = Number(option("rounds") ?? 5);
const seconds = Number(option("seconds") ?? 3);
const pinned = !process.argv.includes("--unpinned") && spawnSync("taskset", ["-V"]).status === 0;
for (const tool of ["wrk", "nginx"]) {
  if (spawnSync("sh", ["-c", `command -v ${tool} || test -x /usr/sbin/${tool}`]).status === 0) continue;
  say(`skipped: there is no ${tool} (apt-get install wrk nginx-light)`);
  process.exit(0);
}

const files = [
  { name: "static-small-direct", path: "/small.html", bytes: 300, goal: ">= 1.5" },
  { name: "static-100k-direct", path: "/large.bin", bytes: 102_400, goal: ">= 1.0" },
];
const dir = mkdtempSync(join(tmpdir(), "dvs-bench-"));
const children: ChildProcess[] = [];
const startedMs = performance.now();
try {
  const site = join(dir, "site");
  mkdirSync(site, { mode: 0o755 });
  for (const { path, bytes } of files) writeFileSync(join(site, path), "x".repeat(bytes));
  spawnSync("chmod", ["-R", "a+rX", dir]);
  const ports = { dvs: await startContainer(site), nginx: await startNginx(site) };
  for (const { name, path, goal, bytes } of files) {
    const ours: number[] = [];
    const ratios: number[] = [];
    const fileStartedMs = performance.now();
    for (let round = 0; round < rounds; round++) {
      // Whoever goes first has the colder machine: they take turns at that too.
      const order = round % 2 === 0 ? (["dvs", "nginx"] as const) : (["nginx", "dvs"] as const);
      const rates = { dvs: 0, nginx: 0 };
      for (const who of order) rates[who] = wrk({ seconds, pinned }, ports[who], path, bytes).rate;
      say(`${name} ${round + 1}: dvs ${Math.round(rates.dvs)}/s, nginx ${Math.round(rates.nginx)}/s`);
      ours.push(rates.dvs);
      ratios.push(rates.dvs / rates.nginx);
    }
    const took = (performance.now() - fileStartedMs) / 1000;
    emit({
      name,
      value: median(ours),
      unit: "requests/s",
      n: rounds * 2,
      rounds,
      seconds: Math.round(took),
      peer: "nginx",
      ratio: median(ratios),
      goal: `ratio ${goal}`,
      detail: { bytes, pinned },
    });
  }
  const logs = ["run/access.log", "access.log"].map(
    (log) => existsSync(join(dir, log)) && statSync(join(dir, log)).size,
  );
  say(
    `both wrote their access logs: ${logs.join(" and ")} bytes; ${Math.round((performance.now() - startedMs) / 1000)} s`,
  );
} finally {
  await Promise.all(children.map(stop));
  rmSync(dir, { recursive: true, force: true });
}

function start(command: string, args: string[]): ChildProcess {
  const [file, ...rest] = pinned ? ["taskset", "-c", "0", command, ...args] : [command, ...args];
  const child = spawn(file, rest, { stdio: ["ignore", "inherit", "inherit"] });
  children.push(child);
  return child;
}

async function startContainer(site: string): Promise<number> {
  const image = await buildImage(site);
  const blobDir = join(dir, "blobs");
  const store = await BlobStore.open(blobDir);
  for (const { digest } of image.entries.filter((entry) => entry.type === "file")) {
    await store.put([await image.read(digest)], digest);
  }
  await store.put([image.manifest], image.digest);
  await store.flush();
  const runDir = join(dir, "run");
  mkdirSync(runDir);
  const port = await freePort();
  const boot: ContainerBoot = {
    spec: {
      tenant: "default",
      instance: "bench",
      uid: "u1",
      generation: 1,
      os: "web",
      image: image.digest,
      options: {},
    },
    node: { id: "n1", name: "node-1", address: "127.0.0.1" },
    incarnation: "i1",
    runDir,
    blobDir,
    listen: { host: "127.0.0.1", port },
    tls: null,
  };
  writeFileSync(join(runDir, "boot.json"), JSON.stringify(boot));
  const main = new URL("../cli/main.ts", import.meta.url).pathname;
  const binary = new URL("../dist/dvs", import.meta.url).pathname;
  if (existsSync(binary)) start(binary, ["container", "--run-dir", runDir]);
  else start(process.execPath, [main, "container", "--run-dir", runDir]);
  await answers(port);
  return port;
}

async function startNginx(site: string): Promise<number> {
  const port = await freePort();
  const template = readFileSync(new URL("peers/nginx-static.conf", import.meta.url), "utf8");
  const conf = template.replaceAll("DIR", dir).replaceAll("ROOT", site).replaceAll("PORT", String(port));
  writeFileSync(join(dir, "nginx.conf"), conf);
  start(existsSync("/usr/sbin/nginx") ? "/usr/sbin/nginx" : "nginx", [
    "-c",
    join(dir, "nginx.conf"),
    "-e",
    join(dir, "error.log"),
  ]);
  await answers(port);
  return port;
}
