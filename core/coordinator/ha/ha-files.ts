/**
 * What a coordinator with --ha keeps below `<dataDir>/etcd/`, mode 0700:
 *
 *   member.json            which member of the store this is, and where the others are
 *   ca.pem                 the authority of the store's members; its key is in the store
 *   member.pem, member.key of this member, shown to the others and to its own etcd
 *   process.json           pid and start time of the etcd that runs
 *   data/                  etcd's own
 *   etcd.log
 */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { DvsError } from "../../errors.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../../files.ts";
import type { TlsIdentity } from "../../transport/dial.ts";

export const MemberFile = z.object({
  version: z.literal(1),
  /** Etcd's name of it: the coordinator's id. */
  name: z.string(),
  host: z.string(),
  clientPort: z.number().int(),
  peerPort: z.number().int(),
  /** `first`: it makes the cluster; `joining`: it may not be a full member yet; `member`. */
  phase: z.enum(["first", "joining", "member"]),
  /** `https://host:port` of every member as last seen, this one first. */
  endpoints: z.array(z.string()).min(1),
});
export type MemberFile = z.infer<typeof MemberFile>;

export interface HaDir {
  root: string;
  member: string;
  ca: string;
  certificate: string;
  key: string;
  process: string;
  data: string;
  log: string;
}

export function haDirOf(dataDir: string): HaDir {
  const root = join(dataDir, "etcd");
  return {
    root,
    member: join(root, "member.json"),
    ca: join(root, "ca.pem"),
    certificate: join(root, "member.pem"),
    key: join(root, "member.key"),
    process: join(root, "process.json"),
    data: join(root, "data"),
    log: join(root, "etcd.log"),
  };
}

/** Null where none was kept. Rejects with FAILED for a damaged one: what it stands for is in etcd's data. */
export async function readMember(dir: HaDir): Promise<MemberFile | null> {
  const json = await readJsonFile(dir.member);
  if (json === null && !existsSync(dir.member)) return null;
  const parsed = MemberFile.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new DvsError(
    "FAILED",
    `Cannot read ${dir.member}: it is damaged. Remove this coordinator (dvs coordinator rm), empty its data directory and join again.`,
  );
}

export async function writeMember(dir: HaDir, member: MemberFile): Promise<void> {
  await makePrivateDir(dir.root);
  await writeSmallFile(dir.member, `${JSON.stringify(member, null, 2)}\n`, { durable: true });
}

/** etcd reads them at each handshake, so that renewed ones are used at once. The key first: they must fit soon. */
export async function writeIdentity(dir: HaDir, { certificate, key }: TlsIdentity): Promise<void> {
  await makePrivateDir(dir.root);
  await writeSmallFile(dir.key, key, { durable: true });
  await writeSmallFile(dir.certificate, certificate, { durable: true });
}

export async function writeCa(dir: HaDir, ca: string): Promise<void> {
  await makePrivateDir(dir.root);
  await writeSmallFile(dir.ca, ca, { durable: true });
}

export async function readIdentity(dir: HaDir): Promise<{ ca: string; identity: TlsIdentity }> {
  try {
    const [ca, certificate, key] = await Promise.all(
      [dir.ca, dir.certificate, dir.key].map((path) => readFile(path, "utf8")),
    );
    return { ca: ca!, identity: { certificate: certificate!, key: key! } };
  } catch (e) {
    throw new DvsError("FAILED", `Cannot read the certificates in ${dir.root}: ${(e as Error).message}`, {
      cause: e,
    });
  }
}

export function clientUrl({ host, clientPort }: Pick<MemberFile, "host" | "clientPort">): string {
  return `https://${bracketed(host)}:${clientPort}`;
}

export function peerUrl({ host, peerPort }: Pick<MemberFile, "host" | "peerPort">): string {
  return `https://${bracketed(host)}:${peerPort}`;
}

export function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
