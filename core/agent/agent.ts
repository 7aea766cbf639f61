/**
 * `runAgent`: the daemon of a node. One per data directory; it needs an identity that a join wrote, and leaves its
 * containers and ingress running when it ends, unless it is told otherwise.
 */
import { realpath } from "node:fs/promises";
import { DvsError } from "../errors.ts";
import { selfCommand } from "../platform/runtime.ts";
import { processStartTime } from "../platform/uptime.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { checkSocketPaths, type DataDir, dataDirOf } from "./data-dir.ts";
import { makePrivateDir, writeSmallFile } from "../files.ts";
import { lockDirectory } from "../lock.ts";
import { type Enrolled, loadIdentity } from "./identity.ts";
import { openImages } from "./images.ts";
import { type AgentTiming, NodeAgent } from "./node-agent.ts";
import type { NodeImages } from "./node-images.ts";
import type { Log } from "./supervisor.ts";
import { connectCoordinators } from "./transport-link.ts";

export interface AgentOptions {
  dataDir: string;
  /** Ends the agent; containers and ingress run on. */
  signal: AbortSignal;
  /** Ends containers and ingress with the agent. */
  stopContainers?: boolean;
  log?: Log;
  /** Called once, when the agent attends to its containers. */
  onStarted?: () => void;
  /** What starts the hidden commands; by default this dvs itself. */
  command?: (args: string[]) => { command: string; args: string[] };
  /** By default HTTP over mutual TLS to the coordinators that the identity names. */
  connect?: (enrolled: Enrolled) => Promise<CoordinatorLink>;
  openImages?: (data: DataDir, coordinator: CoordinatorLink, log: Log) => Promise<NodeImages>;
  timing?: Partial<AgentTiming>;
  /** Called at each step that leaves something behind: a test lets the agent die there. */
  step?: (name: string) => void;
}

/**
 * Resolves with the exit code, 0 when it was told to end or its node was removed. Rejects with CONFLICT when
 * another agent has the directory, NOT_FOUND when the node has not joined.
 */
export async function runAgent(options: AgentOptions): Promise<number> {
  const data = dataDirOf(await existing(options.dataDir));
  checkSocketPaths(data.root);
  const lock = lockDirectory(data.root, "agent");
  try {
    const enrolled = await loadIdentity(data);
    if (!enrolled) {
      throw new DvsError(
        "NOT_FOUND",
        `Cannot start an agent on ${data.root}: this node has not joined a cluster. Run: dvs node join TOKEN`,
      );
    }
    const dirs = [data.root, data.run, data.containers, data.stateProcesses, data.instances, data.state];
    for (const dir of dirs) await makePrivateDir(dir);
    const startTime = processStartTime(process.pid);
    await writeSmallFile(data.agent, JSON.stringify({ pid: process.pid, startTime }), { durable: false });

    const log = options.log ?? (() => {});
    const coordinator = await (options.connect ?? connectCoordinators)(enrolled);
    const images = await (options.openImages ?? openImages)(data, coordinator, log);
    const agent = new NodeAgent({
      data,
      enrolled,
      coordinator,
      images,
      log,
      command: options.command ?? selfCommand,
      step: options.step ?? (() => {}),
      timing: options.timing ?? {},
    });
    await agent.start();
    options.onStarted?.();
    await agent.run(options.signal, { stopContainers: options.stopContainers ?? false });
    return 0;
  } finally {
    lock.release();
  }
}

async function existing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (e) {
    throw new DvsError("NOT_FOUND", `Cannot start an agent: there is no data directory ${path}.`, {
      cause: e,
    });
  }
}
