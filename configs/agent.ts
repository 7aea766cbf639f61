/** The configuration of a node's agent: what `dvs node join --file` and `dvs node start --file` read. */
import { z } from "zod";
import { Labels, Name } from "../core/names.ts";
import type { ConfigKind } from "./kind.ts";

export const AgentConfig = z.strictObject({
  kind: z.literal("agent").optional().describe("Says what this file is"),
  dataDir: z
    .string()
    .min(1, "must not be empty")
    .describe("Directory of the node's identity, images and containers"),
  name: Name.optional().describe("Name of the node; default the machine's host name"),
  address: z
    .string()
    .min(1, "must not be empty")
    .max(255)
    .regex(/^[A-Za-z0-9.:-]+$/, "must be an IP address or host name, without a port")
    .optional()
    .describe(
      "Address at which the other nodes reach this one; default the one this machine reaches the coordinator from",
    ),
  labels: Labels.default({}).describe("Labels that instances choose nodes by (`--on key=value`)"),
  containersMax: z.number().int().min(0).default(0).describe("How many containers fit; 0: no limit"),
  joinToken: z
    .string()
    .min(1)
    .optional()
    .describe("Join token; needed once. Better given as DVS_AGENT_JOIN_TOKEN"),
});
export type AgentConfig = z.output<typeof AgentConfig>;

export const agentKind: ConfigKind<typeof AgentConfig> = {
  name: "agent",
  prefix: "DVS_AGENT",
  schema: AgentConfig,
  text: ["dataDir", "name", "address", "joinToken"],
};
