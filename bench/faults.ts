/**
 * A dead machine under load, as its users see it.
 *
 * Four nodes, an instance on three of them; an open loop of 2,000 requests/s, half GET, half PUT of distinct bodies
 * to an echo route, through the fourth node. In the middle every host process of one of the three gets SIGKILL
 * (kill-*) or SIGSTOP (stop-*) within 10 ms, or the coordinator's machine dies (coordinator-down). An error is
 * whatever a client would have seen: a refused or broken connection, a status other than 200, a wrong body, no
 * answer in 10 s. A gap is the longest time between two right answers after the blow.
 *
 *   bun bench/faults.ts [--rounds 5] [--only kill|stop|coordinator]
 */
import { existsSync } from "node:fs";
import { freePort } from "../test/tools/free-port.ts";
import { startLoad } from "../test/tools/load-process.ts";
import type { LoadReport } from "../test/tools/open-loop.ts";
import { TestCluster, type TestNode } from "../test/system/cluster.ts";
import { emit, median, say, sleep } from "./lib.ts";

const site = new URL("../node_modules/bootstrap-icons/icons", import.meta.url).pathname;
const binary = new URL("../dist/dvs", import.meta.url).pathname;
const rate = 2_000;
const seconds = 6;
const blowAfterMs = 3_000;
const option = (name: string) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? undefined : process.argv[at + 1];
};
const rounds = Number(option("rounds") ?? 5);
const only = option("only");

type Blow = "kill" | "stop" | "coordinator";

interface Outcome {
  report: LoadReport;
  /** Requests that the victim answered in the second before. */
  sentToVictim: number;
  blowMs: number;
}

const startedMs = performance.now();
const command = existsSync(binary) ? [binary] : undefined;
say(command ? `measuring ${binary}` : "measuring from source: there is no dist/dvs (npm run build)");
const cluster = await TestCluster.start({ nodes: 4, ...(command ? { command } : {}) });
try {
  const port = await freePort();
  const { code, stderr } = await cluster.dvs([
    ...[
      "instance",
      "create",
      "web",
      "--os",
      "web",
      "--nodes",
      "3",
      "--site",
      site,
      "--publish",
      String(port),
    ],
    ...["--set", "echo=/echo", "--set", "nodeHeader=true"],
  ]);
  if (code !== 0) throw new Error(stderr);
  const outcomes: Record<Blow, Outcome[]> = { kill: [], stop: [], coordinator: [] };
  for (let round = 0; round < rounds; round++) {
    for (const blow of ["kill", "stop", "coordinator"] as const) {
      if (only !== undefined && only !== blow) continue;
      const outcome = await strike(blow, port);
      outcomes[blow].push(outcome);
      const { report } = outcome;
      say(
        `${blow}: ${report.failed} errors of ${report.sent}, gap ${report.phases[1]?.longestGapMs} ms ${report.failures.join("; ")}`,
      );
    }
  }
  figures("kill", outcomes.kill, "0", "<= 100 ms");
  figures("stop", outcomes.stop, "0", "<= 1500 ms");
  if (outcomes.coordinator.length > 0) {
    emit({
      ...common(outcomes.coordinator),
      name: "coordinator-down",
      value: errors(outcomes.coordinator),
      unit: "errors",
      goal: "0",
    });
  }
} finally {
  await cluster.stop();
}

async function strike(blow: Blow, port: number): Promise<Outcome> {
  const { containers } = await cluster.phase("web", "running");
  const holders = containers.map((c) => c.nodeName);
  const outside = cluster.nodes.find((n) => !holders.includes(n.name))!;
  const victim = cluster.node(holders[Math.floor(Math.random() * holders.length)]!);
  const paths = Array.from(
    { length: 50 },
    (_, i) => `/${["alarm", "android", "app", "apple", "archive"][i % 5]}.svg`,
  );
  const load = startLoad({ host: outside.address, port, rate, seconds, paths, echo: "/echo" });
  await sleep(blowAfterMs);
  load.mark(blow);
  let blowMs = 0;
  if (blow === "coordinator") cluster.killCoordinator();
  else blowMs = await victim.signal(blow === "kill" ? "SIGKILL" : "SIGSTOP");
  const report = await load.report;
  await heal(blow, victim);
  return { report, sentToVictim: report.lastSecondBeforeMark[victim.name] ?? 0, blowMs };
}

async function heal(blow: Blow, victim: TestNode): Promise<void> {
  if (blow === "coordinator") {
    await cluster.coordinatorGone();
    await cluster.startCoordinator();
  } else {
    await victim.kill();
    victim.start();
  }
  // The new state takes a moment to be seen; `running` of before must not be taken for it.
  await sleep(3_000);
  await cluster.phase("web", "running");
}

function figures(blow: "kill" | "stop", outcomes: Outcome[], errorGoal: string, gapGoal: string): void {
  if (outcomes.length === 0) return;
  const sent = outcomes.map((o) => o.sentToVictim);
  if (sent.some((n) => n === 0))
    throw new Error(`the victim answered nothing in the second before: ${sent.join(", ")}`);
  const detail = {
    requestsToTheVictimInTheSecondBefore: sent,
    blowMs: Math.max(...outcomes.map((o) => o.blowMs)),
    gapsMs: outcomes.map((o) => o.report.phases[1]!.longestGapMs),
    latencyMaxMs: outcomes.map((o) => o.report.phases[1]!.latencyMs.max),
  };
  emit({
    ...common(outcomes),
    name: `${blow}-errors`,
    value: errors(outcomes),
    unit: "errors",
    goal: errorGoal,
    detail,
  });
  emit({
    ...common(outcomes),
    name: `${blow}-gap`,
    value: median(detail.gapsMs),
    unit: "ms",
    goal: gapGoal,
    detail,
  });
}

function errors(outcomes: Outcome[]): number {
  return outcomes.reduce((sum, o) => sum + o.report.failed, 0);
}

function common(outcomes: Outcome[]) {
  return {
    n: outcomes.reduce((sum, o) => sum + o.report.sent, 0),
    rounds: outcomes.length,
    seconds: Math.round((performance.now() - startedMs) / 1000),
  };
}
