/**
 * The main job, end to end, on this machine: a coordinator and four nodes as separate host processes, a web
 * instance on three of them with a real site in it, load through the fourth, and one of the three killed as a
 * whole machine in the middle.
 *
 *   npm run demo             shows it and cleans up; exits 1 when a single request failed
 *   npm run demo -- --keep   leaves it running and prints the URL
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { TestCluster } from "../system/cluster.ts";
import { freePort } from "./free-port.ts";
import { startLoad } from "./load-process.ts";
import type { LoadReport } from "./open-loop.ts";

const site = new URL("../../node_modules/bootstrap-icons", import.meta.url).pathname;
const rate = 1_000;
const seconds = 8;
const killAfterMs = 4_000;
const keep = process.argv.includes("--keep");
const startedMs = performance.now();

const say = (text: string) =>
  console.log(`${((performance.now() - startedMs) / 1000).toFixed(1).padStart(5)} s  ${text}`);

const cluster = await TestCluster.start({ nodes: 4 });
let failed = true;
const interrupted = () => void cluster.stop().then(() => process.exit(130));
process.once("SIGINT", interrupted);
process.once("SIGTERM", interrupted);
try {
  say(
    `a coordinator and four nodes are up (${cluster.nodes.map((n) => n.name).join(", ")}), each in host processes of its own`,
  );

  const port = await freePort();
  const created = await cluster.dvs([
    ...["instance", "create", "web", "--os", "web", "--nodes", "3", "--site", site],
    ...["--publish", String(port), "--set", "echo=/echo", "--set", "nodeHeader=true"],
  ]);
  if (created.code !== 0)
    throw new Error(`dvs instance create ended with ${created.code}:\n${created.stderr}`);
  const instance = await cluster.phase("web", "running");
  const holders = instance.containers.map((c) => c.nodeName);
  const fourth = cluster.nodes.find((n) => !holders.includes(n.name))!;
  const files = readdirSync(site, { recursive: true }).length;
  say(
    `instance "web" runs on ${holders.join(", ")}: a site of ${files} files, published on port ${port} of every node`,
  );

  if (keep) {
    say(`it stays: http://${fourth.address}:${port}/font/bootstrap-icons.css`);
    say(
      `to look around:  export DVS_ADDR=${cluster.coordinatorAddress} DVS_TOKEN=$(sed 's/.*"token":"\\([^"]*\\).*/\\1/' ${join(cluster.coordinatorDir, "admin-token")})`,
    );
    say(`                 npm run dvs -- status`);
    say(`to end it:       pkill -9 -f ${cluster.dir}; rm -r ${cluster.dir}`);
    process.exit(0);
  }

  const icons = readdirSync(join(site, "icons")).slice(0, 500);
  const paths = icons.map((f) => `/icons/${f}`);
  say(
    `load: ${rate} requests/s for ${seconds} s through ${fourth.name}, which has no container of it; half GET, half PUT`,
  );
  const victim = cluster.nodes.find((n) => n.name === holders[0])!;
  const load = startLoad({ host: fourth.address, port, rate, seconds, paths, echo: "/echo" });
  await new Promise((r) => setTimeout(r, killAfterMs));
  load.mark("killed");
  const tookMs = await victim.signal("SIGKILL");
  say(`killed ${victim.name} as a whole machine: every host process of it within ${tookMs.toFixed(1)} ms`);
  const report = await load.report;
  print(report, victim.name);

  const degraded = await cluster.phase("web", "degraded");
  say(`the cluster says: ${degraded.conditions.map((c) => c.message).join("; ")}`);
  victim.start();
  await cluster.phase("web", "running");
  say(`${victim.name} was switched on again, and "web" is complete`);
  failed = report.failed > 0;
} finally {
  if (!keep) await cluster.stop();
}
say(failed ? "FAILED: requests were lost" : "done: nothing was lost, everything is cleaned up");
process.exit(failed ? 1 : 0);

function print(report: LoadReport, victim: string): void {
  const nodes = [...new Set(report.phases.flatMap((p) => Object.keys(p.perNode)))].sort();
  const row = (cells: string[]) =>
    console.log(`         ${cells.map((c, i) => (i === 0 ? c.padEnd(24) : c.padStart(10))).join("")}`);
  const [before, after] = report.phases;
  row(["", "before", "after"]);
  for (const node of nodes) {
    const label = `answered by ${node}${node === victim ? " (killed)" : ""}`;
    row([label, String(before?.perNode[node] ?? 0), String(after?.perNode[node] ?? 0)]);
  }
  row(["failures", String(before?.failed ?? 0), String(after?.failed ?? 0)]);
  row(["longest gap, ms", String(before?.longestGapMs ?? 0), String(after?.longestGapMs ?? 0)]);
  row(["latency p50, ms", String(before?.latencyMs.p50 ?? 0), String(after?.latencyMs.p50 ?? 0)]);
  row(["latency p99, ms", String(before?.latencyMs.p99 ?? 0), String(after?.latencyMs.p99 ?? 0)]);
  for (const failure of report.failures) console.log(`         ${failure}`);
}
