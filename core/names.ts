/** Names of instances, nodes, tenants and images: checked once, where they enter. */
import { z } from "zod";
import { nameCharsMax } from "./limits.ts";

/** Lower-case letters, digits and inner hyphens, at most 63: a DNS label. */
export const Name = z
  .string()
  .min(1, "must not be empty")
  .max(nameCharsMax, `must have at most ${nameCharsMax} characters`)
  .regex(
    /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/,
    "must be lower-case letters, digits and inner hyphens, as in `web-1`",
  );

/** A SHA-256 in hex with its algorithm: `sha256:` and 64 digits. */
export const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be `sha256:` and 64 hex digits");
export type Digest = z.infer<typeof Digest>;

export const Port = z.number().int().min(1).max(65_535);

/** Labels of a node, matched by an instance's `--on key=value`. */
export const Labels = z.record(
  z.string().regex(/^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,61}[a-zA-Z0-9])?$/),
  z.string().max(63),
);
export type Labels = z.infer<typeof Labels>;

export const defaultTenant = "default";
