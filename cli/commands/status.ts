import { DvsError } from "../../core/errors.ts";
import { clientArgs, outputArgs } from "../args.ts";
import { command } from "../command.ts";
import { withApi } from "../connection.ts";
import { formatDuration } from "../duration.ts";
import { writeJson } from "../output.ts";
import { writeFields, writeTable } from "../table.ts";
import { instanceColumns } from "../views/instance.ts";
import { nodeColumns } from "../views/node.ts";

/** A table longer than this hides what matters; `ls` shows all. */
const rowsMax = 20;

export default command({
  args: { ...outputArgs, ...clientArgs },
  examples: [
    ["dvs status", "the whole cluster on one page"],
    ["dvs status -o json | jq '.status.warnings'", "what needs attention, for a program"],
  ],
  async run({ args, io, words }) {
    const [status, nodes, instances] = await withApi(args, io, (api) =>
      Promise.all([api.status(), api.nodes.list(), api.instances.list()]).catch(throwUnreached),
    );
    if (args.output === "json") return writeJson(io, { status, nodes, instances });
    const { coordinator, store } = status;
    writeFields(io, [
      ["cluster", status.clusterId],
      [
        "coordinator",
        `${coordinator.address}, up ${formatDuration(coordinator.upMs)}, dvs ${status.version} (${coordinator.runtime})`,
      ],
      ["store", `${store.driver}, revision ${store.revision}`],
      [
        "nodes",
        `${status.nodes.up} up, ${status.nodes.down} down${status.nodes.unknown > 0 ? `, ${status.nodes.unknown} not heard of yet` : ""}`,
      ],
      [
        "instances",
        Object.entries(status.instances)
          .map(([phase, n]) => `${n} ${phase}`)
          .join(", ") || "none",
      ],
    ]);
    // What is in trouble first.
    const troubled = nodes.toSorted((a, b) => Number(a.state === "up") - Number(b.state === "up"));
    const pending = instances.toSorted(
      (a, b) => Number(a.phase === "running") - Number(b.phase === "running"),
    );
    for (const [columns, rows, more] of [
      [nodeColumns, troubled, "dvs node ls"],
      [instanceColumns, pending, "dvs instance ls"],
    ] as const) {
      if (rows.length === 0) continue;
      io.stdout.write("\n");
      writeTable(io, columns as typeof nodeColumns, rows.slice(0, rowsMax) as typeof nodes);
      if (rows.length > rowsMax) io.stdout.write(`and ${rows.length - rowsMax} more: ${more}\n`);
    }
    for (const warning of status.warnings) words.warn(warning);
  },
});

/** Whoever asks here is in trouble: what it means, and what can be done. */
function throwUnreached(thrown: unknown): never {
  const error = DvsError.from(thrown);
  if (error.code !== "UNAVAILABLE") throw error;
  const meaning =
    "Nothing is known of the cluster here. What runs goes on; nothing is changed, and an instance that loses its " +
    "primary pauses until a coordinator is back. Ask on another machine, or see that a coordinator runs where its " +
    "machine is; one whose machine is lost: dvs coordinator recover --help";
  throw new DvsError("UNAVAILABLE", `${error.message}\n${meaning}`, { cause: error.cause });
}
