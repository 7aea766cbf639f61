/** Shared offsets: made, joined, moved, left. */
import { fileSizeMax } from "../../../limits.ts";
import type { FileOperations, FileResult } from "../../operations.ts";
import { refuse } from "../refusal.ts";
import type { Step } from "../step.ts";
import type { Volume } from "../volume.ts";

export function makeOffset(
  { inodes, offsets }: Volume,
  [, ino, id]: FileOperations["makeOffset"],
  { client }: Step,
): FileResult {
  inodes.get(ino);
  if (offsets.find(id)) refuse("EEXIST");
  offsets.make(id, ino, client);
  return ["", 0];
}

export function joinOffset(
  { offsets }: Volume,
  [, id]: FileOperations["joinOffset"],
  { client }: Step,
): FileResult {
  const { offset } = offsets.find(id) ?? refuse("EBADF");
  offsets.join(id, client);
  return ["", offset];
}

export function takeOffset(
  { inodes, offsets }: Volume,
  [, id, length, beyondEnd]: FileOperations["takeOffset"],
): FileResult {
  const { ino, offset } = offsets.find(id) ?? refuse("EBADF");
  const toEnd = Math.max(0, inodes.get(ino).size - offset);
  const taken = beyondEnd === 1 ? length : Math.min(length, toEnd);
  if (offset + taken > fileSizeMax) refuse("EFBIG");
  offsets.set(id, offset + taken);
  return ["", offset, taken];
}

export function seekOffset({ offsets }: Volume, [, id, offset]: FileOperations["seekOffset"]): FileResult {
  if (!offsets.find(id)) refuse("EBADF");
  offsets.set(id, offset);
  return [""];
}

export function leaveOffset(
  { offsets }: Volume,
  [, id]: FileOperations["leaveOffset"],
  { client }: Step,
): FileResult {
  offsets.leave(id, client);
  return [""];
}
