/** The VOSes of this build: a literal list of lazy imports, since anything else is lost in a compiled binary. */
import type { VosPlugin, VosRegistry } from "../core/vos.ts";

export interface PluginSummary {
  name: string;
  /** One line for `dvs instance create --help`; the plugin itself says the same. */
  summary: string;
}

interface Entry extends PluginSummary {
  load: () => Promise<VosPlugin>;
}

const entries: Entry[] = [
  {
    name: "web",
    summary: "serves a static site out of its image",
    load: async () => (await import("./web/plugin.ts")).default,
  },
  {
    name: "hello",
    summary: "answers each request with a greeting; the example to copy",
    load: async () => (await import("./hello/plugin.ts")).default,
  },
];

/** Names and summaries, without loading any plugin. */
export function listPlugins(): PluginSummary[] {
  return entries.map(({ name, summary }) => ({ name, summary }));
}

export const registry: VosRegistry = {
  names: () => entries.map((entry) => entry.name),
  async load(name) {
    return entries.find((entry) => entry.name === name)?.load();
  },
};
