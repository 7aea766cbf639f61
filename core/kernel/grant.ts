/** A buffer that its owner has opened to another process, or to all that may call it (MINIX `safecopies`). */
import type { Endpoint } from "./endpoint.ts";

export interface Grant {
  /** Number among the owner's. */
  id: number;
  buffer: Uint8Array;
  /** ANY, or the one that may use it. */
  grantee: Endpoint;
  access: "read" | "write" | "both";
}

export function allows(grant: Grant, by: Endpoint, access: "read" | "write", any: Endpoint): boolean {
  return (
    (grant.grantee === any || grant.grantee === by) && (grant.access === "both" || grant.access === access)
  );
}
