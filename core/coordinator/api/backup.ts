/** The whole store as lines, for `dvs coordinator backup`: with the authorities' keys, so for administrators alone. */
import { Hono } from "hono";
import { keys } from "../../records.ts";
import { backupStore } from "../../store/transfer.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { ndjson } from "../ndjson.ts";
import { needs } from "./auth.ts";

export function backupRoutes({ store, signal }: Coordinator) {
  return new Hono<ApiEnv>().get("/v1/store/backup", needs("admin"), () => {
    async function* lines(): AsyncGenerator {
      for await (const line of backupStore(store, isPassing)) yield JSON.parse(line) as unknown;
    }
    return ndjson({ lines: lines(), stop: () => undefined }, signal);
  });
}

/** Of the coordinators that run now, and of the members that keep the store. */
function isPassing(key: string): boolean {
  return key === keys.leader || key === keys.storeAuthority || key.startsWith(keys.coordinators);
}
