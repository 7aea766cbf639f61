/** What a node tells of itself with a heartbeat. */
import { statfs } from "node:fs/promises";
import { availableParallelism, totalmem } from "node:os";
import type { ContainerReport, PortReport, ReplicaReport, Report } from "../agent-protocol.ts";
import { MiB } from "../limits.ts";
import { runtimeName } from "../platform/runtime.ts";
import { bootId } from "../platform/uptime.ts";
import { version } from "../version.ts";

export interface ReportParts {
  revision: number;
  containers: ContainerReport[];
  replicas: ReplicaReport[];
  ports: PortReport[];
  ingressRequests: number;
  warnings: string[];
}

const diskLookMs = 2_000;
/** Below this, or a twentieth of a small disk, people should know. */
const diskFreeBytesMin = 64 * MiB;

/** Free space of the file system that holds `path`, looked at from time to time. */
export class DiskWatch {
  readonly #path: string;
  #freeBytes = 0;
  #bytes = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  async start(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => void this.#look(), diskLookMs);
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  warnings(): string[] {
    if (this.#freeBytes >= Math.min(diskFreeBytesMin, this.#bytes / 20)) return [];
    // In steps, so that each byte is not a new warning.
    const free = Math.floor(this.#freeBytes / MiB);
    return [`disk ${free === 0 ? "full" : "nearly full"}: ${free} MiB free in ${this.#path}`];
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    try {
      const { bavail, blocks, bsize } = await statfs(this.#path);
      this.#freeBytes = bavail * bsize;
      this.#bytes = blocks * bsize;
    } catch {
      this.#freeBytes = 0;
    }
  }
}

export function reporter(disk: DiskWatch): (parts: ReportParts) => Report {
  const machine = {
    version,
    runtime: runtimeName,
    bootId: bootId(),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
  };
  return (parts) => ({
    ...machine,
    ...parts,
    diskFreeBytes: disk.freeBytes,
    warnings: [...parts.warnings, ...disk.warnings()],
  });
}
