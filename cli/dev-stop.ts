/** Ends every host process of a development cluster: nothing but what (pid, start time) names. */
import { endProcesses, localProcesses, stopNode } from "../core/agent/local-processes.ts";
import { coordinatorRole, type DevCluster, isAlive, nodeName, paths } from "./dev-cluster.ts";
import type { Progress } from "./progress.ts";

export interface EndedProcess {
  /** Node or coordinator that it belonged to. */
  role: string;
  kind: string;
  pid: number;
}

const graceMs = 3_000;

/** Resolves when all have gone. A host process that does not end by itself within the grace is killed. */
export async function stopDevCluster(
  dir: string,
  cluster: DevCluster,
  progress: Progress,
): Promise<EndedProcess[]> {
  progress.show("ending the cluster's host processes");
  const ended: EndedProcess[] = [];
  const alive = cluster.processes.filter(isAlive);
  try {
    await Promise.all([
      ...Array.from({ length: cluster.nodes }, async (_, i) => {
        const data = paths.node(dir, i + 1);
        const role = nodeName(i + 1);
        // An agent that was just started holds no agent.json yet: it is known from its start.
        const starting = alive.filter((p) => p.role === role);
        const known = await localProcesses(data);
        ended.push(...known.map(({ kind, pid }) => ({ role, kind, pid })));
        const unknown = starting.filter((p) => !known.some((k) => k.pid === p.pid));
        ended.push(...unknown.map(({ pid }) => ({ role, kind: "agent", pid })));
        await endProcesses(unknown.map(asLocal), graceMs);
        await stopNode(data, { graceMs });
      }),
      (async () => {
        const own = alive.filter((p) => p.role === coordinatorRole);
        ended.push(...own.map(({ pid }) => ({ role: coordinatorRole, kind: coordinatorRole, pid })));
        await endProcesses(own.map(asLocal), graceMs);
      })(),
    ]);
  } finally {
    progress.end();
  }
  return ended;
}

const asLocal = ({ pid, startTime }: { pid: number; startTime: string }) => ({
  pid,
  startTime,
  kind: "agent" as const,
  uid: "",
});
