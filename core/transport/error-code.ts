/** `ECONNREFUSED`, `CERT_HAS_EXPIRED`: the code that node: errors carry, "" when there is none. */
export function codeOf(e: unknown): string {
  const code = (e as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : "";
}
