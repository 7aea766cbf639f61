/** All of dvs from source under Deno: `deno run -A test/deno/cli.ts`. Exits with 1 when a check failed. */
import process from "node:process";
import { smoke } from "../smoke/smoke.ts";

const main = new URL("../../cli/main.ts", import.meta.url).pathname;
process.exit((await smoke(process.execPath, ["run", "-A", main])) ? 0 : 1);
