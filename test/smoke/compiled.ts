/** The binary as it is shipped: `bun test/smoke/compiled.ts [BINARY]`. Exits with 1 when a check failed. */
import { smoke } from "./smoke.ts";

const binary = process.argv[2] ?? new URL("../../dist/dvs", import.meta.url).pathname;
process.exit((await smoke(binary, [])) ? 0 : 1);
