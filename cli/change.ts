/** A change of one instance: asked for, waited for, shown. Shared by create, start and stop. */
import type { Api } from "../core/api/client.ts";
import type { InstanceView } from "../core/api/views.ts";
import { DvsError } from "../core/errors.ts";
import { type ClientArgs, withApi } from "./connection.ts";
import type { Io } from "./io.ts";
import { type Output, writeJson } from "./output.ts";
import { Progress } from "./progress.ts";
import { waitForInstance } from "./wait.ts";
import type { Words } from "./words.ts";

export interface ChangeContext {
  args: ClientArgs & { detach: boolean; timeout: number; output: Output };
  io: Io;
  words: Words;
}

export interface Change {
  change(api: Api): Promise<InstanceView>;
  goal: string;
  reached(view: InstanceView): boolean;
  /** What is said at the end after `instance web`: `runs`. */
  done(view: InstanceView): string;
  /** More to say when it is done. */
  after?(api: Api, view: InstanceView): Promise<void>;
}

/** Throws FAILED when the instance went while it was waited for, with the reason that the cluster gives. */
export async function changeInstance({ args, io, words }: ChangeContext, change: Change): Promise<void> {
  await withApi(args, io, async (api) => {
    const asked = await change.change(api);
    if (args.detach) {
      if (args.output !== "table") writeJson(io, asked);
      words.info(
        `instance ${asked.name}: asked for, not waited for; see "dvs instance inspect ${asked.name}"`,
      );
      return;
    }
    const result = await waitForInstance({
      api,
      instance: asked,
      goal: change.goal,
      reached: (view) =>
        view.generation >= asked.generation && view.desired === asked.desired && change.reached(view),
      timeoutMs: args.timeout,
      progress: new Progress(io, words),
      signal: io.signal,
    });
    if ("removed" in result) {
      const why = result.failure ? `: ${result.failure.message}` : ": it was removed meanwhile";
      throw new DvsError("FAILED", `Instance "${asked.name}" is not ${change.goal}${why}`);
    }
    if (args.output !== "table") writeJson(io, result);
    words.success(`instance ${result.name} ${change.done(result)}`);
    // What was asked for is done: a coordinator that is gone by now must not make it look otherwise.
    await change.after?.(api, result).catch(() => undefined);
  });
}
