/** The configuration of this machine's agent, from flags, environment, file and what the machine itself says. */
import { connect } from "node:net";
import { hostname } from "node:os";
import { join, resolve } from "node:path";
import { agentKind } from "../configs/agent.ts";
import { readConfig } from "../configs/kind.ts";
import type { ConfigDocument } from "../configs/document.ts";
import type { Layer } from "../configs/layers.ts";
import { nameCharsMax } from "../core/limits.ts";
import { homeDir } from "./context.ts";
import type { Io } from "./io.ts";

export async function readAgentConfig(io: Io, file: ConfigDocument | undefined, flags: Layer) {
  const config = await readConfig(agentKind, {
    defaults: {
      value: { dataDir: defaultDataDir(io, "node"), name: defaultName() },
      name: (path) => path.map(String).join("."),
    },
    file,
    env: io.env,
    flags,
  });
  return { ...config, dataDir: resolve(io.cwd, config.dataDir) };
}

/** /var/lib/dvs/<what> for root, else below $DVS_HOME or ~/.dvs. */
export function defaultDataDir(io: Io, what: "node" | "coordinator"): string {
  return process.getuid?.() === 0 && !io.env["DVS_HOME"] ? `/var/lib/dvs/${what}` : join(homeDir(io), what);
}

/** The machine's host name as a node's name: its first label, in the letters that a name may have. */
export function defaultName(host: string = hostname()): string {
  const label = host
    .toLowerCase()
    .split(".")[0]!
    .replace(/[^a-z0-9-]/g, "-")
    .slice(0, nameCharsMax)
    .replace(/^-+|-+$/g, "");
  return label || "node";
}

const connectTimeoutMs = 5_000;

/** The address by which this machine reaches one of the coordinators; undefined when it reaches none. */
export async function addressTowards(addresses: readonly string[]): Promise<string | undefined> {
  for (const address of addresses) {
    const at = address.lastIndexOf(":");
    const found = await localAddress(
      address.slice(0, at).replace(/^\[|\]$/g, ""),
      Number(address.slice(at + 1)),
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

function localAddress(host: string, port: number): Promise<string | undefined> {
  return new Promise((done) => {
    const socket = connect({ host, port });
    const finish = (address: string | undefined) => {
      socket.destroy();
      done(address);
    };
    socket.setTimeout(connectTimeoutMs, () => finish(undefined));
    socket.once("connect", () => finish(socket.localAddress?.replace(/^::ffff:/, "")));
    socket.once("error", () => finish(undefined));
  });
}
