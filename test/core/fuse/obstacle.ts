/** Why nothing can be mounted here; empty: it can. */
import { accessSync, constants } from "node:fs";

export function obstacleToMounts(): string {
  if (process.getuid?.() !== 0) return "needs root";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
    return "";
  } catch {
    return "needs /dev/fuse";
  }
}
