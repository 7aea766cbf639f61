/** The kinds of configuration files, by name. */
import type { z } from "zod";
import type { VosRegistry } from "../core/vos.ts";
import { agentKind } from "./agent.ts";
import { coordinatorKind } from "./coordinator.ts";
import { instanceKind } from "./instance.ts";
import type { ConfigKind } from "./kind.ts";

export const kindNames = ["instance", "agent", "coordinator"] as const;
export type KindName = (typeof kindNames)[number];

export function kindOf(name: KindName, registry: VosRegistry): ConfigKind<z.ZodObject> {
  return { instance: instanceKind(registry), agent: agentKind, coordinator: coordinatorKind }[name];
}
