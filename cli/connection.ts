/** The coordinator that a command calls: flags and environment first, then the context file. */
import type { Api } from "../core/api/client.ts";
import { DvsError } from "../core/errors.ts";
import { contextFile, readContext } from "./context.ts";
import type { Io } from "./io.ts";

export interface ClientArgs {
  addr?: string | undefined;
  token?: string | undefined;
  context?: string | undefined;
}

const defaultPort = 7400;

/** Calls `use` with a client and closes it. Throws UNAVAILABLE when nothing says which coordinator. */
export async function withApi<T>(args: ClientArgs, io: Io, use: (api: Api) => Promise<T>): Promise<T> {
  const { addresses, token, ca } = endpoint(args, io);
  const { createApi } = await import("../core/api/client.ts");
  const api = createApi({ addresses, token, ...(ca === undefined ? {} : { ca }) });
  try {
    return await use(api);
  } finally {
    api.close();
  }
}

function endpoint(args: ClientArgs, io: Io): { addresses: string[]; token: string; ca: string | undefined } {
  const file = contextFile(io, args.context);
  const kept = args.addr !== undefined && args.token !== undefined ? undefined : readContext(file);
  const addresses = args.addr === undefined ? kept?.addresses : parseAddresses(args.addr);
  const token = args.token ?? kept?.token;
  if (addresses === undefined) {
    throw new DvsError(
      "UNAVAILABLE",
      `No cluster to talk to: there is no ${file}. Start one with "dvs up", or give --addr and --token (DVS_ADDR, DVS_TOKEN).`,
    );
  }
  if (token === undefined) {
    throw new DvsError(
      "UNAUTHENTICATED",
      `No API token for ${addresses.join(", ")}. Give --token or DVS_TOKEN; "dvs token create --role operator" makes one.`,
    );
  }
  return { addresses, token, ca: args.token === undefined ? kept?.ca : undefined };
}

/** `a:7400,b:7400`; the port may be left out. Throws INVALID. */
export function parseAddresses(text: string): string[] {
  return text.split(",").map((part) => {
    const address = part.trim().replace(/^https:\/\//, "");
    const match = /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(address);
    if (!match || Number(match[2] ?? defaultPort) > 65_535 || Number(match[2] ?? defaultPort) < 1) {
      throw new DvsError(
        "INVALID",
        `bad value "${text}" for --addr: accepted: HOST:PORT, several separated by commas`,
      );
    }
    return `${match[1]}:${match[2] ?? defaultPort}`;
  });
}
