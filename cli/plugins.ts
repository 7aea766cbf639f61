/** The VOSes of this build, loaded when a command needs them. */
import type { VosPlugin } from "../core/vos.ts";

export async function loadRegistry() {
  return (await import("../plugins/registry.ts")).registry;
}

export async function loadPlugins(): Promise<VosPlugin[]> {
  const registry = await loadRegistry();
  const plugins = await Promise.all(registry.names().map((name) => registry.load(name)));
  return plugins.filter((p) => p !== undefined);
}
