/**
 * Exit certificates of containers whose instance keeps its View in its replicated state: written there by the agent
 * that has seen the process gone, so that nobody has to wait for the kernel's lease to run out.
 */
import { DvsError } from "../errors.ts";
import { reconnectMaxMs, reconnectMinMs } from "../limits.ts";
import { StateClient } from "../state/client/state-client.ts";
import type { Reached } from "./reached.ts";
import { pause } from "./limited.ts";
import type { Log } from "./supervisor.ts";

export interface StateExitsOptions {
  /** Null where the instance keeps no state, or has gone from this node. */
  reach: (uid: string) => Promise<Reached | null>;
  log: Log;
  signal: AbortSignal;
}

/** After this the lease has run out anyhow. */
const triesMax = 20;

export class StateExits {
  readonly #options: StateExitsOptions;
  constructor(options: StateExitsOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async certify(uid: string, incarnation: string): Promise<void> {
    const { reach, log, signal } = this.#options;
    let waitMs = reconnectMinMs;
    for (let tries = 0; tries < triesMax && !signal.aborted; tries++) {
      try {
        const reached = await reach(uid);
        if (!reached) return;
        return await certify(reached, incarnation);
      } catch (thrown) {
        const error = DvsError.from(thrown);
        // It never joined, or somebody was faster.
        if (error.code === "INVALID") return;
        if (tries === 0)
          log("warn", `the end of container ${incarnation} is not written yet: ${error.message}`);
      }
      await pause(waitMs, signal);
      waitMs = Math.min(2 * waitMs, reconnectMaxMs);
    }
  }
}

async function certify({ identity, replicas }: Reached, incarnation: string): Promise<void> {
  const id = `exit-${incarnation}`;
  const client = new StateClient({ identity: { ...identity, incarnation: `once-${id}` } });
  try {
    client.setReplicas(replicas);
    await client.write("views", { op: "exit", id, incarnation });
  } finally {
    client.close();
  }
}
