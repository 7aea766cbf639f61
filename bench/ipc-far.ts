/**
 * The second host process of ipc-pair.ts: its processes answer what they are called with, and let others copy.
 *
 *   bun bench/ipc-far.ts DIR     the plan is DIR/plan.json; ends when its stdin does
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ParentLog } from "./ipc-log.ts";
import { fromCallers, type Plan, startKernel, vaultBytes } from "./ipc-plan.ts";

const plan = JSON.parse(readFileSync(join(process.argv[2]!, "plan.json"), "utf8")) as Plan;
const linked = await startKernel(plan, 1, new ParentLog(() => process.exit(0)));
void linked.run();

void (async () => {
  const vault = await linked.kernel.bind({ name: "vault", privileges: fromCallers });
  const grant = vault.grant({ buffer: new Uint8Array(vaultBytes).fill(1), access: "both" });
  for (;;) vault.reply(await vault.receive(), { type: 0, body: grant });
})();

const echo = await linked.kernel.bind({ name: "echo", privileges: fromCallers });
for (;;) {
  const request = await echo.receive();
  echo.reply(request, { type: 2, body: request.body });
}
