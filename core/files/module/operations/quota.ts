/** `setQuota`. What is above it stays, and nothing more comes. */
import type { FileOperations, FileResult } from "../../operations.ts";
import type { Volume } from "../volume.ts";

export function setQuota(
  { counters }: Volume,
  [, bytesMax, inodesMax]: FileOperations["setQuota"],
): FileResult {
  Object.assign(counters.change(), { bytesMax, inodesMax });
  return [""];
}
