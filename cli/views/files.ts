/** Files of an instance, as `ls -l` and `df` show them. */
import type { FileEntryJson, FilesUsageJson } from "../../core/files/remote/ask.ts";
import { bytes } from "../format.ts";
import type { Column } from "../table.ts";

const letters: Record<FileEntryJson["kind"], string> = {
  file: "-",
  directory: "d",
  symlink: "l",
  fifo: "p",
  socket: "s",
};

/** `-rwsr-xr-t` */
export function modeText({ kind, mode }: Pick<FileEntryJson, "kind" | "mode">): string {
  const triple = (bits: number, special: boolean, letter: string) => {
    const may = (bits & 1) !== 0;
    const last = special ? (may ? letter : letter.toUpperCase()) : may ? "x" : "-";
    return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${last}`;
  };
  const owner = triple(mode >> 6, (mode & 0o4000) !== 0, "s");
  const group = triple(mode >> 3, (mode & 0o2000) !== 0, "s");
  return `${letters[kind]}${owner}${group}${triple(mode, (mode & 0o1000) !== 0, "t")}`;
}

/** `2026-11-22 23:30:07`, in UTC. */
export function timeText([seconds]: FileEntryJson["mtime"]): string {
  const date = new Date(seconds * 1_000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().slice(0, 19).replace("T", " ");
}

export const fileColumns: Column<FileEntryJson>[] = [
  { title: "MODE", value: modeText },
  { title: "LINKS", value: ({ nlink }) => nlink, right: true },
  { title: "UID", value: ({ uid }) => uid, right: true },
  { title: "GID", value: ({ gid }) => gid, right: true },
  { title: "SIZE", value: ({ size }) => size, right: true },
  { title: "MODIFIED (UTC)", value: ({ mtime }) => timeText(mtime) },
  {
    title: "NAME",
    value: ({ name, target }) => (target === undefined ? name : `${name} -> ${target}`),
    flexible: true,
  },
];

export interface Usage extends FilesUsageJson {
  instance: string;
}

export const usageColumns: Column<Usage>[] = [
  { title: "INSTANCE", value: ({ instance }) => instance },
  { title: "SIZE", value: (usage) => bytes(sizeOf(usage)), right: true },
  { title: "USED", value: (usage) => bytes(usage.bytes), right: true },
  { title: "AVAILABLE", value: (usage) => bytes(available(usage)), right: true },
  { title: "USE%", value: (usage) => `${percentOf(usage)}%`, right: true },
  { title: "QUOTA", value: ({ bytesMax }) => bytes(bytesMax), right: true },
  { title: "FILES", value: ({ inodes }) => inodes, right: true },
  { title: "FILES MAX", value: ({ inodesMax }) => inodesMax, right: true },
];

/** As `df` has it of a mount: what is used, and what may still come, by the quota and by the disks. */
function sizeOf(usage: FilesUsageJson): number {
  return usage.bytes + available(usage);
}

function percentOf(usage: FilesUsageJson): number {
  return usage.bytes === 0 ? 0 : Math.ceil((100 * usage.bytes) / sizeOf(usage));
}

function available({ bytes: used, bytesMax, bytesFree }: FilesUsageJson): number {
  return Math.max(0, Math.min(bytesMax - used, bytesFree));
}
