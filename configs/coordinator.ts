/** The configuration of a coordinator: what `dvs coordinator start --file` reads. */
import { z } from "zod";
import { CoordinatorOptions } from "../core/coordinator/options.ts";
import type { ConfigKind } from "./kind.ts";

export const CoordinatorConfig = z.strictObject({
  kind: z.literal("coordinator").optional().describe("Says what this file is"),
  ...CoordinatorOptions.shape,
});
export type CoordinatorConfig = z.output<typeof CoordinatorConfig>;

export const coordinatorKind: ConfigKind<typeof CoordinatorConfig> = {
  name: "coordinator",
  prefix: "DVS_COORDINATOR",
  schema: CoordinatorConfig,
  text: [
    "dataDir",
    "listen",
    "agentListen",
    "advertise",
    "store",
    "storeCa",
    "storeCert",
    "storeKey",
    "storeUser",
    "storePassword",
    "join",
  ],
};
