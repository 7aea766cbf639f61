/**
 * Our ingress against haproxy, both one thread, in front of the same nginx: requests a second of a small file and of
 * one of 100 KB. Short rounds, the two taking turns; the ratio is the median of the rounds' ratios. `detail` has what
 * a request costs each of them in CPU time, which the load generator's share of the machine does not blur.
 *
 *   bun bench/ingress.ts [--rounds 5] [--seconds 3] [--pinned] [--source]
 *
 * `--pinned`: the proxy on CPU 0, nginx and wrk on CPU 1. Good on a machine of one's own; where others work, whoever of
 * them gets CPU 0 decides the round (ratios of 0.5 to 1.2 at equal CPU time), so it is not the default.
 * Ours is dist/dvs, or the sources under Bun where that was not built or `--source` says so.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IngressTable } from "../core/ingress/control.ts";
import { freePort } from "../test/tools/free-port.ts";
import { answers, stop, wrk } from "./http-rival.ts";
import { emit, median, round, say, sleep } from "./lib.ts";

const option = (name: string): string | undefined => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const rounds = Number(option("rounds") ?? 5);
const seconds = Number(option("seconds") ?? 3);
const pinned = process.argv.includes("--pinned") && spawnSync("taskset", ["-V"]).status === 0;
const pathOf = (tool: string) => (existsSync(`/usr/sbin/${tool}`) ? `/usr/sbin/${tool}` : tool);
for (const tool of ["wrk", "nginx", "haproxy"]) {
  if (spawnSync("sh", ["-c", `command -v ${tool} || test -x /usr/sbin/${tool}`]).status === 0) continue;
  say(`skipped: there is no ${tool} (apt-get install wrk nginx-light haproxy)`);
  process.exit(0);
}

interface Proxy {
  port: number;
  pid: number;
}

const files = [
  { name: "static-small-ingress", path: "/small.html", bytes: 300 },
  { name: "static-100k-ingress", path: "/large.bin", bytes: 102_400 },
];
const dir = mkdtempSync(join(tmpdir(), "dvs-bench-"));
const children: ChildProcess[] = [];
try {
  const root = join(dir, "site");
  mkdirSync(root, { mode: 0o755 });
  for (const { path, bytes } of files) writeFileSync(join(root, path), "x".repeat(bytes));
  spawnSync("chmod", ["-R", "a+rX", dir]);
  const upstream = await startNginx(root);
  const proxies = { dvs: await startIngress(upstream), haproxy: await startHaproxy(upstream) };
  for (const { name, path, bytes } of files) {
    const startedMs = performance.now();
    const rates = { dvs: [] as number[], haproxy: [] as number[] };
    const costs = { dvs: [] as number[], haproxy: [] as number[] };
    // The first round warms both up and is not counted.
    for (let i = 0; i <= rounds; i++) {
      const order = i % 2 === 0 ? (["dvs", "haproxy"] as const) : (["haproxy", "dvs"] as const);
      for (const who of order) {
        const { pid, port } = proxies[who];
        const before = cpuUs(pid);
        const { rate, count } = wrk({ seconds, pinned }, port, path, bytes);
        if (i === 0) continue;
        rates[who].push(rate);
        costs[who].push((cpuUs(pid) - before) / count);
      }
      if (i === 0) continue;
      const [ours = 0, theirs = 0] = [rates.dvs.at(-1), rates.haproxy.at(-1)];
      say(
        `${name} ${i}: dvs ${Math.round(ours)}/s, haproxy ${Math.round(theirs)}/s: ${round(ours / theirs, 2)}`,
      );
    }
    emit({
      name,
      value: median(rates.dvs),
      unit: "requests/s",
      n: rounds * 2,
      rounds,
      seconds: Math.round((performance.now() - startedMs) / 1000),
      peer: "haproxy",
      ratio: median(rates.dvs.map((rate, i) => rate / rates.haproxy[i]!)),
      goal: "ratio >= 0.9",
      detail: {
        bytes,
        pinned,
        cpuUsPerRequest: round(median(costs.dvs), 2),
        peerCpuUsPerRequest: round(median(costs.haproxy), 2),
      },
    });
  }
} finally {
  await Promise.all(children.map(stop));
  rmSync(dir, { recursive: true, force: true });
}

function start(cpu: number, command: string, args: string[]): ChildProcess {
  const [file, ...rest] = pinned ? ["taskset", "-c", String(cpu), command, ...args] : [command, ...args];
  const child = spawn(file, rest, { stdio: ["ignore", "inherit", "inherit"] });
  children.push(child);
  return child;
}

async function startNginx(root: string): Promise<number> {
  const port = await freePort();
  const conf = fill("nginx-upstream.conf", { DIR: dir, ROOT: root, PORT: String(port) });
  start(1, pathOf("nginx"), ["-c", conf, "-e", join(dir, "nginx-error.log")]);
  await answers(port);
  return port;
}

async function startHaproxy(upstream: number): Promise<Proxy> {
  const port = await freePort();
  const conf = fill("haproxy.cfg", { PORT: String(port), UPSTREAM: String(upstream) });
  const child = start(0, pathOf("haproxy"), ["-f", conf]);
  await answers(port);
  return { port, pid: child.pid! };
}

async function startIngress(upstream: number): Promise<Proxy> {
  const port = await freePort();
  const binary = new URL("../dist/dvs", import.meta.url).pathname;
  const main = new URL("../cli/main.ts", import.meta.url).pathname;
  const command =
    existsSync(binary) && !process.argv.includes("--source")
      ? [binary]
      : [process.execPath, "--no-install", main];
  const runDir = join(dir, "run");
  mkdirSync(runDir);
  const [file, ...args] = [...command, "ingress", "--run-dir", runDir];
  const child = start(0, file, args);
  const table: IngressTable = {
    node: { id: "n1", name: "n1", address: "127.0.0.1" },
    routes: [
      {
        ...{ port, policy: "local-first", tenant: "default", instance: "bench", uid: "u1" },
        uri: "spiffe://bench/t/default/i/bench/u1",
        local: null,
        upstreams: [{ node: "n2", host: "127.0.0.1", port: upstream, incarnation: "i1" }],
      },
    ],
    // Without an authority upstreams are plain TCP: the peer's are, too.
    tls: { certificate: "", key: "", ca: "" },
  };
  await sendTable(join(runDir, "ingress.sock"), table);
  await answers(port);
  return { port, pid: child.pid! };
}

/** As an agent does; the link may go, the ingress keeps the table. */
async function sendTable(path: string, table: IngressTable): Promise<void> {
  const line = `${JSON.stringify({ type: "table", table })}\n`;
  for (let i = 0; i < 200; i++) {
    const sent = await new Promise<boolean>((resolve) => {
      const socket = connect(path, () => socket.end(line, () => resolve(true)));
      socket.on("error", () => resolve(false));
    });
    if (sent) return;
    await sleep(50);
  }
  throw new Error(`no ingress listens on ${path}`);
}

function fill(name: string, values: Record<string, string>): string {
  let text = readFileSync(new URL(`peers/${name}`, import.meta.url), "utf8");
  for (const [key, value] of Object.entries(values)) {
    text = text.replaceAll(new RegExp(`\\b${key}\\b`, "g"), value);
  }
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

/** User and system time of a host process, in microseconds; the clock ticks 100 times a second. */
function cpuUs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000;
}
