/** Values as people read them. */
import type { InstanceView } from "../core/api/views.ts";
import { formatDuration } from "./duration.ts";

/** How long ago a time is: `3m`. */
export function age(iso: string): string {
  const ms = Date.now() - Date.parse(iso);
  return Number.isFinite(ms) ? formatDuration(ms) : "";
}

/** `1.4 MiB`. */
export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  let value = n;
  while (value >= 1024 && i < units.length - 1) {
    value /= 1024;
    i++;
  }
  return `${i === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[i]}`;
}

/** `sha256:` and the first twelve digits. */
export function shortDigest(digest: string | null): string {
  return digest === null ? "" : digest.slice(0, "sha256:".length + 12);
}

export function labels(of: Record<string, string>): string {
  return Object.entries(of)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

/** Where an instance's ports answer: on every node. */
export function urls(view: InstanceView, addresses: string[]): string[] {
  const host = addresses[0] ?? "localhost";
  const shown = host.includes(":") ? `[${host}]` : host;
  return view.spec.publish.map((p) => `http://${shown}:${p.port}/`);
}
