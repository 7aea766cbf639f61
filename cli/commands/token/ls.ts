import type { TokenView } from "../../../core/api/schema.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { age } from "../../format.ts";
import { writeList } from "../../output.ts";
import type { Column } from "../../table.ts";

const columns: Column<TokenView>[] = [
  { title: "ID", value: (t) => t.id },
  { title: "KIND", value: (t) => t.kind },
  { title: "ROLE", value: (t) => t.role ?? "" },
  { title: "USES LEFT", value: (t) => (t.kind === "join" ? (t.usesLeft ?? "any") : ""), right: true },
  { title: "EXPIRES", value: (t) => (t.expired ? "expired" : (t.expiresAt ?? "never")) },
  { title: "AGE", value: (t) => age(t.createdAt), right: true },
  { title: "DESCRIPTION", value: (t) => t.description, flexible: true },
];

export default command({
  args: { ...outputArgs, ...clientArgs },
  examples: [["dvs token ls", "tokens without their secrets"]],
  async run({ args, io }) {
    writeList(io, args.output, columns, await withApi(args, io, (api) => api.tokens.list()));
  },
});
