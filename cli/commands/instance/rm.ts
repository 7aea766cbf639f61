import type { Api } from "../../../core/api/client.ts";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs, waitArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";
import { Progress } from "../../progress.ts";
import { settle } from "../../settle.ts";
import { waitForInstance } from "../../wait.ts";

export default command({
  args: {
    name: { type: "positional", required: true, many: true, description: "Names of the instances" },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    "ignore-missing": { type: "boolean", description: "An instance that does not exist is no failure" },
    ...waitArgs,
    ...clientArgs,
  },
  details: "Waits until the containers have ended and the ports are free.",
  examples: [
    ["dvs instance rm web", "remove it"],
    ["dvs instance rm web shop --ignore-missing --yes", "for scripts that clean up"],
  ],
  async run({ args, io, words }) {
    await confirm(io, args.yes, `Remove ${args.name.join(", ")}?`);
    await withApi(args, io, (api) =>
      each([...new Set(args.name)], (name) =>
        unlessMissing(args["ignore-missing"], async () => {
          // By its uid: where an answer was lost, somebody may have made another one under the name meanwhile.
          const { uid } = await api.instances.get(name);
          const instance = await settle({ args, io, words }, async (again) => {
            if (again && (await uidOf(api, name)) !== uid) return { name, uid };
            return api.instances.remove(name);
          });
          if (args.detach) return words.info(`instance ${name}: being removed`);
          await waitForInstance({
            api,
            instance,
            goal: "removed",
            reached: () => false,
            timeoutMs: args.timeout,
            progress: new Progress(io, words),
            signal: io.signal,
          });
          words.success(`instance ${name} removed`);
        }),
      ),
    );
  },
});

/** Null where nothing has the name. */
async function uidOf(api: Api, name: string): Promise<string | null> {
  try {
    return (await api.instances.get(name)).uid;
  } catch (thrown) {
    if (DvsError.from(thrown).code === "NOT_FOUND") return null;
    throw thrown;
  }
}
