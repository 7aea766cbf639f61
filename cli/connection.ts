/** The coordinator that a command calls: flags and environment first, then the context file. */
import type { Api } from "../core/api/client.ts";
import { DvsError } from "../core/errors.ts";
import { contextFile, readContext, writeContext } from "./context.ts";
import type { Io } from "./io.ts";

export interface ClientArgs {
  addr?: string | undefined;
  token?: string | undefined;
  context?: string | undefined;
}

const defaultPort = 7400;

/** Calls `use` with a client and closes it. Throws UNAVAILABLE when nothing says which coordinator. */
export async function withApi<T>(args: ClientArgs, io: Io, use: (api: Api) => Promise<T>): Promise<T> {
  const { addresses, token, ca, keep } = endpoint(args, io);
  const { createApi } = await import("../core/api/client.ts");
  let all: string[] | undefined;
  const onCoordinators = (told: string[]) => (all = told);
  const api = createApi({ addresses, token, ...(ca === undefined ? {} : { ca }), onCoordinators });
  try {
    return await use(api);
  } finally {
    api.close();
    // The next command finds the cluster also when those that are known now have gone.
    const told = all && inOrder(addresses, all);
    if (told) await keep?.(told).catch(() => undefined);
  }
}

/**
 * Those that were known first: where somebody put them in an order, it stays. Null where none of them is told: they
 * lead there by other ways than the coordinators know, such as a tunnel.
 */
function inOrder(known: string[], all: string[]): string[] | null {
  if (!known.some((a) => all.includes(a))) return null;
  return [...known.filter((a) => all.includes(a)), ...all.filter((a) => !known.includes(a))];
}

interface Endpoint {
  addresses: string[];
  token: string;
  ca: string | undefined;
  /** Writes addresses into the context that these are from; absent where they are not from one. */
  keep: ((addresses: string[]) => Promise<void>) | undefined;
}

function endpoint(args: ClientArgs, io: Io): Endpoint {
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
  return {
    addresses,
    token,
    ca: args.token === undefined ? kept?.ca : undefined,
    keep:
      kept && args.addr === undefined && args.token === undefined
        ? (told) => writeContext(file, { ...kept, addresses: told })
        : undefined,
  };
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
