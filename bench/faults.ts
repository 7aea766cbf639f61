/**
 * A dead machine under load, as its users see it.
 *
 * Four nodes, an instance on three of them; an open loop of 2,000 requests/s, half GET, half PUT of distinct bodies
 * to an echo route, through the fourth node. In the middle every host process of one of the three gets SIGKILL
 * (kill-*) or SIGSTOP (stop-*) within 10 ms, or the coordinator's machine dies (coordinator-down). An error is
 * whatever a client would have seen: a refused or broken connection, a status other than 200, a wrong body, no
 * answer in 10 s. A gap is the longest time between two right answers after the blow.
 *
 * `overload`: three times as many requests as the cluster can answer, for 4 s, then 1,000 requests/s. Errors count from
 * one second after the overload on. Recovered is when the last quarter of a second is over in which a request failed
 * or took longer than a second.
 *
 *   bun bench/faults.ts [--rounds 5] [--only kill|stop|coordinator|overload] [--hogs 4] [--slices]
 *
 * `--slices`: what came of each quarter of a second after the overload. `--hogs`: as many busy host processes beside,
 * to show what a machine that is short of CPU does to all of it.
 */
import { type ChildProcess, spawn } from "node:child_process";
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

const overloadSeconds = 4;
const afterRate = 1_000;
const afterSeconds = 8;
const sliceMs = 250;

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
const hogs: ChildProcess[] = [];
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
  const overloads: Overload[] = [];
  for (let i = 0; i < Number(option("hogs") ?? 0); i++) hogs.push(startHog());
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
    if (only === undefined || only === "overload") {
      const overload = await overloaded(port);
      overloads.push(overload);
      say(`overload: ${JSON.stringify(overload)}`);
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
  if (overloads.length > 0) {
    emit({
      ...common([]),
      name: "overload-errors-after",
      value: overloads.reduce((sum, o) => sum + o.errorsAfter, 0),
      unit: "errors",
      n: overloads.reduce((sum, o) => sum + o.sentAfter, 0),
      rounds: overloads.length,
      goal: "0",
      detail: { overloads },
    });
    emit({
      ...common([]),
      name: "overload-recovery",
      value: median(overloads.map((o) => o.recoveredMs)),
      unit: "ms",
      n: overloads.length,
      rounds: overloads.length,
      goal: "<= 1000 ms",
    });
  }
} finally {
  for (const hog of hogs) hog.kill("SIGKILL");
  await cluster.stop();
}

/** Keeps a CPU busy as long as this host process lives. */
function startHog(): ChildProcess {
  const loop = "while [ -d /proc/$0 ]; do i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; done";
  return spawn("sh", ["-c", loop, String(process.pid)], { stdio: "ignore" });
}

interface Overload {
  /** Requests a second that 32 clients got answered. */
  capacity: number;
  offered: number;
  /** What clients saw while it lasted. */
  answered: number;
  failed: number;
  failures: string[];
  /** From one second after its end on. */
  sentAfter: number;
  errorsAfter: number;
  failuresAfter: string[];
  recoveredMs: number;
}

async function overloaded(port: number): Promise<Overload> {
  const { containers } = await cluster.phase("web", "running");
  const holders = containers.map((c) => c.nodeName);
  const host = cluster.nodes.find((n) => !holders.includes(n.name))!.address;
  const capacity = await capacityOf(`http://${host}:${port}/alarm.svg`);
  const offered = 3 * capacity;
  const common = { host, port, paths: ["/alarm.svg"], echo: "/echo" };
  // Clients that are not answered give up, and make room for others. There are fewer of them than ports, of which
  // one host can use 28,000 to the same server.
  const crowd = { seconds: overloadSeconds, timeoutMs: 2_000, openMax: 6_000 };
  const storm = startLoad({ ...common, ...crowd, rate: offered });
  await sleep(overloadSeconds * 1_000);
  // It may be behind with what it should have sent.
  storm.stop();
  const after = startLoad({ ...common, rate: afterRate, seconds: afterSeconds });
  const endedMs = performance.now();
  let marks = 0;
  while (marks < (afterSeconds * 1_000) / sliceMs - 1) {
    await sleep(Math.max(0, endedMs + ++marks * sliceMs - performance.now()));
    after.mark(String(marks * sliceMs));
  }
  const [during, report] = await Promise.all([storm.report, after.report]);
  if (process.argv.includes("--slices")) {
    for (const p of report.phases) {
      say(
        `${p.name.padStart(5)} sent ${p.sent} ok ${p.ok} failed ${p.failed}, ${p.latencyMs.p50} to ${p.latencyMs.max} ms`,
      );
    }
  }
  const isBad = (p: LoadReport["phases"][number]) => p.failed > 0 || p.latencyMs.max > 1_000;
  const late = report.phases.filter((p) => Number(p.name) >= 1_000);
  return {
    capacity,
    offered,
    answered: during.ok,
    failed: during.failed,
    failures: during.failures,
    sentAfter: late.reduce((sum, p) => sum + p.sent, 0),
    errorsAfter: late.reduce((sum, p) => sum + p.failed, 0),
    failuresAfter: report.failures,
    recoveredMs: (report.phases.findLastIndex(isBad) + 1) * sliceMs,
  };
}

async function capacityOf(url: string): Promise<number> {
  const untilMs = performance.now() + 2_000;
  let answered = 0;
  const client = async () => {
    while (performance.now() < untilMs) {
      const response = await fetch(url);
      await response.arrayBuffer();
      if (response.status === 200) answered++;
    }
  };
  await Promise.all(Array.from({ length: 32 }, client));
  return Math.round(answered / 2);
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
  // A generator that got no CPU in that second shows nothing either; with hogs it happens.
  if (sent.some((n) => n === 0) && hogs.length === 0)
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
