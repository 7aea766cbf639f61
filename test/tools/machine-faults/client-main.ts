/**
 * A container's own client of the instance's OS state, on the machine that this program is started on: with the
 * certificate and the secret of the container there, told of the replicas by what the agent keeps for its host
 * processes. Does what it is asked on its standard input, all at once.
 *
 *   bun test/tools/machine-faults/client-main.ts DATA-DIR UID local|remote
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { dirname } from "node:path";
import { containerDirOf, dataDirOf, instanceDirOf } from "../../../core/agent/data-dir.ts";
import { ContainerBoot } from "../../../core/container/control.ts";
import { DvsError } from "../../../core/errors.ts";
import { KeyValue } from "../../../core/state/client/key-value.ts";
import { LocalReader } from "../../../core/state/client/local-reader.ts";
import { StateClient } from "../../../core/state/client/state-client.ts";
import { linkTls } from "../../../core/state/link/link-identity.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { addressesOf, ReplicaSet } from "../../../core/state/replica-set.ts";
import { type Answered, type Asked, decoded, encoded } from "./asked.ts";

/** As often an agent's word is looked for: it comes at once to a container. */
const lookMs = 20;

const [dataDir, uid, reads] = process.argv.slice(2) as [string, string, string];
const dir = dataDirOf(dataDir);
const boot = ContainerBoot.parse(JSON.parse(readFileSync(containerDirOf(dir, uid).boot, "utf8")));
const client = new StateClient({
  identity: {
    instance: uid,
    node: boot.node.id,
    incarnation: `client-${randomBytes(6).toString("hex")}`,
    disk: "",
    secret: new Uint8Array(Buffer.from(boot.kernelSecret!, "hex")),
    tls: linkTls(() => boot.tls),
  },
});
const values = new KeyValue(client);
const watches = new Map<number, AbortController>();
let known = "";
let beside = "";
look();
setInterval(look, lookMs);
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void answer(JSON.parse(line) as Asked));
lines.on("close", () => process.exit(0));

function look(): void {
  const text = readFileSync(instanceDirOf(dir, uid).replicas, "utf8");
  if (text === known) return;
  known = text;
  const addresses = addressesOf(ReplicaSet.parse(JSON.parse(text)));
  client.setReplicas(addresses);
  const unix = addresses.find(({ node }) => node === boot.node.id)?.unix ?? "";
  if (reads !== "local" || unix === beside) return;
  beside = unix;
  client.setReader(unix === "" ? null : new LocalReader(dirname(unix), [kv]));
}

async function answer(asked: Asked): Promise<void> {
  const { id } = asked;
  try {
    switch (asked.what) {
      case "get": {
        const entry = await values.get(asked.key, asked.timeoutMs);
        return tell({ id, entry: entry && { value: decoded(entry.value), revision: entry.revision } });
      }
      case "put": {
        const { key, value, ifRevision, timeoutMs } = asked;
        const options = { timeoutMs, ...(ifRevision !== null && { ifRevision }) };
        return tell({ id, result: await values.put(key, encoded(value), options) });
      }
      case "delete":
        return tell({ id, result: await values.delete(asked.key, { timeoutMs: asked.timeoutMs }) });
      case "watch": {
        const stop = new AbortController();
        watches.set(id, stop);
        for await (const { revision, changes } of values.watch(asked.prefix, asked.after, stop.signal)) {
          const told = changes.map(({ key, value }) => ({ key, value: value && decoded(value) }));
          tell({ id, event: { revision, changes: told } });
        }
        return;
      }
      case "end":
        watches.get(id)?.abort();
    }
  } catch (e) {
    const { code, message } = DvsError.from(e);
    tell({ id, error: { code, message } });
  }
}

function tell(answered: Answered): void {
  process.stdout.write(`${JSON.stringify(answered)}\n`);
}
