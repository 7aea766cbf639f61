/**
 * The configuration of an instance: what `dvs instance create --file web.yaml` reads. `options` are the VOS's own,
 * checked by the schema that its plugin declares.
 */
import { z } from "zod";
import { Labels, Name, Port } from "../core/names.ts";
import { nearest } from "../core/nearest.ts";
import { InstanceSpec, PublishedPort } from "../core/records.ts";
import { policyMistakes, stateFields, StateRequest } from "../core/state/policy.ts";
import { needsOf, type VosPlugin, type VosRegistry } from "../core/vos.ts";
import type { ConfigKind } from "./kind.ts";
import { type Mistake, mistakesOf } from "./mistakes.ts";

const policies = PublishedPort.shape.policy.unwrap().options;

/** `8080`, `"8080:local-first"`, or `{port: 8080, policy: local-first}`. */
export const Publish = z
  .union([Port, z.string(), PublishedPort.strict()])
  .transform((given, context): PublishedPort => {
    if (typeof given === "object") return given;
    const [port = "", policy = policies[0] ?? "", ...more] = String(given).split(":");
    const text = JSON.stringify(given);
    const number = /^\d{1,5}$/.test(port) ? Number(port) : 0;
    const known = policies.find((p) => p === policy);
    if (more.length > 0 || number < 1 || number > 65_535) {
      context.addIssue({
        code: "custom",
        message: `must be PORT or PORT:POLICY with a port from 1 to 65535; it is ${text}`,
      });
    } else if (!known) {
      const near = nearest(policy, policies);
      context.addIssue({
        code: "custom",
        message: `has no policy "${policy}": accepted ${policies.join(", ")}${near ? `; did you mean "${near}"?` : ""}; it is ${text}`,
      });
    }
    return { port: number, policy: known ?? policies[0]! };
  });

export const InstanceConfig = z.strictObject({
  kind: z.literal("instance").optional().describe("Says what this file is"),
  name: Name.optional().describe("Name of the instance; a readable one is made where it is absent"),
  os: Name.describe("The VOS it runs (`dvs plugin ls`)"),
  nodes: InstanceSpec.shape.nodes.default(1).describe("On how many nodes it runs, one container on each"),
  on: Labels.default({}).describe("Only on nodes that carry all these labels"),
  publish: z
    .array(Publish)
    .default([])
    .describe(
      "Ports open on every node that lead to it: PORT, PORT:POLICY or a mapping with port and policy",
    ),
  site: z
    .string()
    .min(1, "must not be empty")
    .optional()
    .describe("Directory that becomes its image, relative to this file. Not together with image"),
  image: z
    .string()
    .min(1, "must not be empty")
    .optional()
    .describe("Image it boots from: a name or a sha256 digest (`dvs image ls`)"),
  options: z.record(z.string(), z.unknown()).default({}).describe("Options of the VOS"),
  replicas: StateRequest.shape.replicas.describe(
    "On how many of its nodes its state is kept, 1 to 5; by default 3, or as many as it has nodes",
  ),
  minInSync: StateRequest.shape.minInSync.describe(
    "Writes fail while fewer replicas than this have everything; by default 2 of 3 or more, else 1",
  ),
  durability: StateRequest.shape.durability.describe(
    "When a write is acknowledged: fsync (on the disk of every replica in sync, the default) or replicated (in the memory of each: a power cut of all at once may lose the last 100 ms)",
  ),
  replaceAfterMs: StateRequest.shape.replaceAfterMs.describe(
    "Milliseconds for which a replica's node is gone before another node takes its place; by default 300000",
  ),
});
export type InstanceConfig = z.output<typeof InstanceConfig>;

export function instanceKind(registry: VosRegistry): ConfigKind<typeof InstanceConfig> {
  return {
    name: "instance",
    prefix: "DVS_INSTANCE",
    schema: InstanceConfig,
    text: ["name", "os", "site", "image", "durability"],
    exclusive: [["site", "image"]],
    async extra(value) {
      const mistakes: Mistake[] = [];
      if (value["site"] !== undefined && value["image"] !== undefined) {
        mistakes.push({ path: ["image"], message: "cannot stand beside site: the site becomes the image" });
      }
      mistakes.push(...twice(value["publish"]));
      const os = value["os"];
      if (typeof os !== "string" || !Name.safeParse(os).success) return mistakes;
      const plugin = await registry.load(os);
      if (!plugin) {
        const names = registry.names();
        const near = nearest(os, names);
        mistakes.push({
          path: ["os"],
          message: `no VOS is called "${os}"${near ? `: did you mean "${near}"?` : ""} (known: ${names.join(", ")})`,
        });
        return mistakes;
      }
      const image = value["site"] ?? value["image"];
      if (plugin.image === "required" && image === undefined) {
        mistakes.push({
          path: ["image"],
          message: `is missing: VOS "${os}" boots from an image; give site or image`,
        });
      }
      if (plugin.image === "none" && image !== undefined) {
        const path = value["site"] === undefined ? ["image"] : ["site"];
        mistakes.push({ path, message: `VOS "${os}" has no image: leave it out` });
      }
      mistakes.push(...mistakesOf(optionsOf(plugin), value["options"] ?? {}, ["options"]));
      mistakes.push(...stateMistakes(value, plugin));
      return mistakes;
    },
  };
}

/** The plugin's options, refusing unknown ones: a mistyped option would be ignored silently. */
export function optionsOf(plugin: VosPlugin): z.ZodType {
  return plugin.options instanceof z.ZodObject ? plugin.options.strict() : plugin.options;
}

/** What was given of it, as the coordinator is asked for it. */
export function stateRequestOf(value: Record<string, unknown>): StateRequest {
  const given = stateFields.filter((field) => value[field] !== undefined);
  return Object.fromEntries(given.map((field) => [field, value[field]]));
}

/** Only where each of them is good for itself: that is told already. */
function stateMistakes(value: Record<string, unknown>, plugin: VosPlugin): Mistake[] {
  const request = StateRequest.safeParse(stateRequestOf(value));
  const nodes = InstanceSpec.shape.nodes.safeParse(value["nodes"] ?? 1);
  if (!request.success || !nodes.success) return [];
  // Wrong options are told already; what they need nobody can say.
  const options = plugin.options.safeParse(value["options"] ?? {});
  if (!options.success) return [];
  const keepsState = needsOf(plugin, options.data).state === true;
  const mistakes = policyMistakes(request.data, nodes.data, keepsState);
  return mistakes.map(({ path, message }) => ({ path: [path], message }));
}

function twice(publish: unknown): Mistake[] {
  const seen = new Set<number>();
  const mistakes: Mistake[] = [];
  for (const [i, given] of (Array.isArray(publish) ? publish : []).entries()) {
    const parsed = Publish.safeParse(given);
    if (!parsed.success) continue;
    if (seen.has(parsed.data.port))
      mistakes.push({ path: ["publish", i], message: `port ${parsed.data.port} is published twice` });
    seen.add(parsed.data.port);
  }
  return mistakes;
}
