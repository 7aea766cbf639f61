/** Operations of files by their numbers (core/files/operations.ts), for people. */
export const operationNames: Readonly<Record<number, string>> = {
  1: "create",
  2: "link",
  3: "unlink",
  4: "removeDirectory",
  5: "rename",
  6: "setAttributes",
  7: "write",
  8: "open",
  9: "release",
  10: "lock",
  11: "cancelLock",
  32: "reap",
  33: "move",
  34: "expire",
};
