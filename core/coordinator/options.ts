/** What a coordinator is started with. Composed into the configuration file's schema by `configs/`. */
import { z } from "zod";
import { isIP } from "node:net";

export const HostPort = z.string().transform((text, context) => {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (!match || port > 65_535) {
    context.addIssue({
      code: "custom",
      message: `must be HOST:PORT, as in 127.0.0.1:7400; it is ${JSON.stringify(text)}`,
    });
    return z.NEVER;
  }
  return { host: match[1]!.replace(/^\[|\]$/g, ""), port };
});
export type HostPort = z.output<typeof HostPort>;

export const CoordinatorOptions = z.object({
  dataDir: z.string().min(1).describe("Directory of the store, the blobs and this coordinator's identity"),
  listen: HostPort.default({ host: "127.0.0.1", port: 7400 }).describe(
    "Where people and the CLI reach the API; port 0 takes any and keeps it",
  ),
  agentListen: HostPort.optional().describe(
    "Where agents connect; default the host of `listen` and its port + 1 (0 where that is 0)",
  ),
  advertise: z
    .string()
    .optional()
    .describe("Host name or address under which nodes reach this coordinator; default the host of `listen`"),
  store: z
    .string()
    .optional()
    .describe(
      "sqlite:/path/store.db or etcd://host:2379,host:2379/prefix (etcds:// for TLS); default sqlite in the data directory",
    ),
  storeCa: z
    .string()
    .optional()
    .describe("File with the authority (PEM) that signed the certificates of an etcd over TLS"),
  storeCert: z
    .string()
    .optional()
    .describe("File with the certificate (PEM) to show to an etcd that demands one"),
  storeKey: z.string().optional().describe("File with the private key (PEM) of that certificate"),
  storeUser: z.string().optional().describe("User of an etcd that demands one"),
  storePassword: z
    .string()
    .optional()
    .describe("Password of that user; best given by the environment, where nobody else sees it"),
  ha: z
    .boolean()
    .default(false)
    .describe(
      "Run a member of the store on this machine: three coordinators with it outlive the loss of one",
    ),
  haPort: z
    .number()
    .int()
    .min(1)
    .max(65_534)
    .optional()
    .describe(
      "With `ha`: port of the store's member for coordinators; members use the next one. Default the port of `listen` + 2",
    ),
  join: z.string().optional().describe("With `ha`: a coordinator token, to join coordinators that there are"),
  replaceAfterMs: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe("Milliseconds after which a container of a dead node is placed on another one"),
});
export type CoordinatorOptions = z.input<typeof CoordinatorOptions>;

/** True for addresses that other machines cannot use. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

/** Subject alternative names for what somebody may type to reach the coordinator. */
export function alternativeNames(hosts: string[]): { dns: string[]; ips: string[] } {
  const unique = [...new Set(hosts.filter((h) => !isWildcard(h)))];
  return { dns: unique.filter((h) => isIP(h) === 0), ips: unique.filter((h) => isIP(h) !== 0) };
}
