/**
 * What an agent finds when it starts: directories of supervised processes, their records, and the processes that run in them.
 * Record and process may each be there without the other, because the earlier agent can have died at any step:
 *
 *   record with pid, process lives          adopt it
 *   record without pid, one process lives   the agent died right after starting it: adopt it, its hello must match
 *   process without a fitting record        nobody knows what it is: kill it
 *   record, no process                      it ended; only its directory is left
 */
import { readdir } from "node:fs/promises";
import { z } from "zod";
import { bootId, processStartTime } from "../platform/uptime.ts";
import { type DataDir, Uid } from "./data-dir.ts";
import { readJsonFile } from "../files.ts";
import { adoptHostProcess, type HostProcess, killGroup, ProcessRecord } from "./host-process.ts";
import { findProcesses, type FoundProcess, type ProcessKind } from "./proc-scan.ts";

/** `process.json` of a supervised process, beside its spec. */
const Kept = ProcessRecord.extend({
  restarts: z.number().int(),
  /** The TCP port it had last: asked for again, so that other nodes' tables stay true. 0: none yet. */
  port: z.number().int(),
  /** Of a state process: what it has open, once it has told. */
  disk: z.string().optional(),
});
export type SupervisedRecord<Spec> = z.infer<typeof Kept> & { spec: Spec };

export interface FoundProcessOf<Spec> {
  uid: string;
  record: SupervisedRecord<Spec> | null;
  process: HostProcess | null;
}

/** Where the processes of a kind have their directories, one for each uid. */
export interface SupervisedDirs<Spec> {
  kind: ProcessKind;
  under: string;
  specSchema: z.ZodType<Spec>;
  dirOf(uid: string): { root: string; process: string };
}

/** A child is the agent's own image until its exec: so long a process may be there and not be found. */
const execMs = 200;

/** Every directory below `under`, each with its process if one lives. Strangers in them are dead afterwards. */
export async function findSupervised<Spec>(dirs: SupervisedDirs<Spec>): Promise<FoundProcessOf<Spec>[]> {
  const uids = (await readdir(dirs.under)).filter((name) => Uid.safeParse(name).success);
  const schema = Kept.extend({ spec: dirs.specSchema });
  const records = new Map<string, SupervisedRecord<Spec> | null>();
  for (const uid of uids) {
    const parsed = schema.safeParse(await readJsonFile(dirs.dirOf(uid).process));
    records.set(uid, parsed.success ? parsed.data : null);
  }
  const boot = bootId();
  const underWay = [...records.values()].some((r) => r?.pid === 0 && r.bootId === boot);
  if (underWay) await pause(execMs);
  const running = await look(dirs.under, dirs.kind);
  const found: FoundProcessOf<Spec>[] = [];
  for (const [uid, record] of records) {
    const { root } = dirs.dirOf(uid);
    const here = running.filter((p) => p.runDir === root);
    found.push({ uid, record, process: await chooseProcess(record, here) });
  }
  return found;
}

/** The node's ingress, if one lives. Its socket's hello names its pid, so no record is needed to trust it. */
export async function findIngress(data: DataDir): Promise<HostProcess | null> {
  const intent = (await readJsonFile(data.ingressIntent)) as { bootId?: unknown } | null;
  const underWay = intent?.bootId === bootId();
  let running = await look(data.run, "ingress");
  if (running.length === 0 && underWay) {
    await pause(execMs);
    running = await look(data.run, "ingress");
  }
  const [first, ...others] = running;
  for (const other of others) await killSurely(other);
  return first ? adoptHostProcess(first.pid, first.startTime) : null;
}

async function look(under: string, kind: ProcessKind): Promise<FoundProcess[]> {
  return (await findProcesses(under)).filter((p) => p.kind === kind);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

async function chooseProcess(
  record: ProcessRecord | null,
  running: FoundProcess[],
): Promise<HostProcess | null> {
  const sameBoot = record !== null && record.bootId === bootId();
  let chosen: FoundProcess | undefined;
  if (sameBoot && record.pid !== 0) {
    chosen = running.find((p) => p.pid === record.pid && p.startTime === record.startTime);
  } else if (sameBoot && running.length === 1) {
    chosen = running[0];
  }
  const strangers = running.filter((p) => p !== chosen);
  for (const stranger of strangers) await killSurely(stranger);
  return chosen ? adoptHostProcess(chosen.pid, chosen.startTime) : null;
}

/** Returns when the process is gone. */
export async function killSurely({ pid, startTime }: { pid: number; startTime: string }): Promise<void> {
  while (processStartTime(pid) === startTime) {
    killGroup(pid, "SIGKILL");
    await pause(10);
  }
}
