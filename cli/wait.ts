/**
 * Waits for an instance to become what was asked for, by the API's watch: every change arrives when it happens,
 * and a broken link is opened again until the time is over. The wait ending never ends what was asked for.
 */
import type { Api } from "../core/api/client.ts";
import type { InstanceView } from "../core/api/views.ts";
import { DvsError } from "../core/errors.ts";
import type { Condition } from "../core/records.ts";
import { formatDuration } from "./duration.ts";
import type { Progress } from "./progress.ts";

export interface Wait {
  api: Api;
  /** The instance as the change answered it: one made later under the same name is another one. */
  instance: Pick<InstanceView, "name" | "uid">;
  /** What is waited for, for messages: `running`, `removed`. */
  goal: string;
  reached(view: InstanceView): boolean;
  timeoutMs: number;
  progress: Progress;
  signal: AbortSignal;
}

const retryMs = 200;
/** What a timer can hold; a wait of 24 days is long enough. */
const timerMsMax = 2 ** 31 - 1;

/** The instance that reached the goal; "removed" where it is gone. Throws TIMEOUT; an abort rejects with its reason. */
export async function waitForInstance(
  wait: Wait,
): Promise<InstanceView | { removed: true; failure: Condition | null }> {
  const deadline = AbortSignal.timeout(Math.min(wait.timeoutMs, timerMsMax));
  const signal = AbortSignal.any([wait.signal, deadline]);
  let last: InstanceView | undefined;
  try {
    for (;;) {
      try {
        let seen = false;
        for await (const event of wait.api.instances.watch({ name: wait.instance.name }, signal)) {
          if (event.type === "instance" && event.instance.uid === wait.instance.uid) {
            seen = true;
            last = event.instance;
            wait.progress.show(describe(last));
            if (wait.reached(last)) return last;
          } else if (event.type === "removed" && event.uid === wait.instance.uid) {
            return { removed: true, failure: event.failure };
          } else if (event.type === "synced" && !seen) return { removed: true, failure: null };
        }
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        const error = DvsError.from(thrown);
        if (error.code === "NOT_FOUND") return { removed: true, failure: null };
        if (!error.retry && error.code !== "OUTCOME_UNKNOWN") throw error;
        wait.progress.show(`${wait.instance.name}: waiting for the coordinator (${error.message})`);
      }
      await pause(retryMs, signal);
    }
  } catch (thrown) {
    if (!deadline.aborted || wait.signal.aborted) throw thrown;
    throw new DvsError(
      "TIMEOUT",
      `Instance "${wait.instance.name}" is not ${wait.goal} after ${formatDuration(wait.timeoutMs)}` +
        `${last ? ` (${describe(last)})` : ""}. It goes on; see "dvs instance inspect ${wait.instance.name}".`,
    );
  } finally {
    wait.progress.end();
  }
}

/** `web: pending — unschedulable: needs 3 nodes, 2 are up`; of several reasons the first. */
export function describe(view: InstanceView): string {
  const [first, ...more] = view.conditions;
  const starting = view.phase === "creating" || view.phase === "degraded";
  const state = `${view.name}: ${view.phase}${starting ? `, ${view.ready} of ${view.spec.nodes} are ready` : ""}`;
  if (!first) return state;
  return `${state} — ${describeCondition(first)}${more.length > 0 ? ` (and ${more.length} more)` : ""}`;
}

/** The reason's name stands before its message, unless that speaks of it anyway. */
export function describeCondition({ reason, message }: Condition): string {
  const word = reason.split("-")[0]!;
  return message.includes(word) ? message : `${reason}: ${message}`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    if (signal.aborted) return reject(signal.reason as Error);
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal.addEventListener("abort", stop, { once: true });
  });
}
