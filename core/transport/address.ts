/** `host:port` and `[v6]:port`, as people write them and tokens carry them. */
import { isIPv6 } from "node:net";
import { DvsError } from "../errors.ts";

export interface Address {
  host: string;
  port: number;
}

/** Throws INVALID with an example. */
export function parseAddress(text: string): Address {
  const m = /^(?:\[([0-9a-fA-F:.%a-z]+)\]|([^\s:/[\]@]+)):(\d{1,5})$/.exec(text);
  const port = Number(m?.[3]);
  const host = m?.[1] ?? m?.[2];
  if (host === undefined || port < 1 || port > 65_535 || (m?.[1] !== undefined && !isIPv6(m[1]))) {
    throw new DvsError(
      "INVALID",
      `Not an address: ${JSON.stringify(text)}. Write host:port, as in 10.0.0.1:7070 or [fd00::1]:7070.`,
    );
  }
  return { host, port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
