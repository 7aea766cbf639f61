/**
 * The data of one surviving member, made a cluster of one: for when the others are gone for good. Never while one of
 * them takes connections: there would be two stores then, each believing to be the one.
 */
import { existsSync } from "node:fs";
import { DvsError } from "../../errors.ts";
import { openStore } from "../../store/open.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../log.ts";
import { pause } from "../pause.ts";
import { etcdArgs } from "./etcd-args.ts";
import { findEtcd } from "./etcd-binary.ts";
import { EtcdProcess } from "./etcd-process.ts";
import { clientUrl, haDirOf, readIdentity, readMember, writeMember } from "./ha-files.ts";
import { listenHostOf, storePrefix } from "./ha-store.ts";
import { whoLives } from "./who-lives.ts";

const retryMs = 200;
const startTimeoutMs = 30_000;

/** Rejects with FAILED when another member lives (not with `force`) or etcd does not come up, NOT_FOUND without data. */
export async function recoverMember({
  dataDir,
  force,
  signal,
  log,
}: {
  dataDir: string;
  force: boolean;
  signal: AbortSignal;
  log: Log;
}): Promise<{ store: Store; close: () => Promise<void> }> {
  const binary = await findEtcd();
  const dir = haDirOf(dataDir);
  const member = await readMember(dir);
  if (!member || !existsSync(dir.data)) {
    throw new DvsError("NOT_FOUND", `There is nothing to recover: ${dir.data} has no data.`);
  }
  const { ca, identity } = await readIdentity(dir);
  const others = member.endpoints.filter((e) => e !== clientUrl(member));
  const living = force ? [] : await whoLives(others, signal);
  if (living.length > 0) {
    throw new DvsError(
      "FAILED",
      `Cannot recover from this machine: ${living.join(", ")} of the store's other members still run: they take connections. ` +
        "Where a majority of them lives, start the coordinators there. Where they are to be given up, stop them first (or use --force).",
    );
  }
  const alone = { ...member, phase: "member" as const, endpoints: [clientUrl(member)] };
  const process = await EtcdProcess.start({
    dir,
    command: binary.path,
    args: () => [...etcdArgs(dir, alone, listenHostOf(member.host), null, binary), "--force-new-cluster"],
    log,
  });
  try {
    const url = `etcds://${clientUrl(member).slice("https://".length)}${storePrefix}`;
    const untilMs = performance.now() + startTimeoutMs;
    for (;;) {
      signal.throwIfAborted();
      try {
        const store = await openStore(url, { tls: { ca, identity: () => identity } });
        await writeMember(dir, alone);
        return { store, close: () => process.stop() };
      } catch (e) {
        if (performance.now() >= untilMs) {
          throw new DvsError(
            "FAILED",
            `The store does not come up: ${DvsError.from(e).message} Its log: ${dir.log}`,
            {
              cause: e,
            },
          );
        }
        await pause(retryMs, signal);
      }
    }
  } catch (e) {
    await process.stop();
    throw e;
  }
}
