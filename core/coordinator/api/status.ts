/** The cluster on one page, with warnings in plain words; and what it can run. */
import { Hono } from "hono";
import { z } from "zod";
import type { PluginView, Status } from "../../api/schema.ts";
import { runtimeName } from "../../platform/runtime.ts";
import { controlPlaneWarnings } from "../control-plane-warnings.ts";
import type { ApiEnv, Coordinator } from "../context.ts";

export function statusRoutes(coordinator: Coordinator) {
  const { store, controller, registry, cluster } = coordinator;
  const app = new Hono<ApiEnv>();

  app.get("/v1/status", async (c) => {
    const storeStatus = await store.status();
    const nodes = { up: 0, down: 0, unknown: 0 };
    const warnings = [...storeStatus.warnings, ...coordinator.warnings()];
    for (const node of controller.nodeViews(performance.now())) {
      nodes[node.state] += 1;
      if (node.state === "down") warnings.push(`node ${node.name} is down`);
      warnings.push(...node.warnings.map((w) => `node ${node.name}: ${w}`));
    }
    const instances: Record<string, number> = {};
    for (const instance of controller.instanceViews()) {
      instances[instance.phase] = (instances[instance.phase] ?? 0) + 1;
    }
    warnings.push(
      ...controlPlaneWarnings({
        store: storeStatus,
        own: coordinator.members.get(coordinator.id) ?? { id: coordinator.id, ...coordinator.addresses() },
        others: coordinator.peers.views(),
        nodes: controller.nodeViews(performance.now()),
      }),
    );
    const status: Status = {
      clusterId: cluster.id,
      version: coordinator.version,
      coordinator: {
        id: coordinator.id,
        address: coordinator.addresses().api,
        upMs: Math.round(performance.now() - coordinator.startedMs),
        runtime: runtimeName,
      },
      store: {
        driver: storeStatus.driver,
        revision: storeStatus.revision,
        generation: storeStatus.generation,
      },
      nodes,
      instances,
      warnings,
    };
    return c.json(status);
  });

  app.get("/v1/plugins", async (c) => {
    const plugins: PluginView[] = [];
    for (const name of registry.names()) {
      const plugin = await registry.load(name);
      if (!plugin) continue;
      const options = z.toJSONSchema(plugin.options, { io: "input" }) as Record<string, unknown>;
      plugins.push({ name: plugin.name, summary: plugin.summary, image: plugin.image, options });
    }
    return c.json(plugins);
  });
  return app;
}
