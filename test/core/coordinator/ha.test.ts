/** What --ha says and does where it cannot simply start; three machines that work are in test/system/ha.test.ts. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { etcdArgs } from "../../../core/coordinator/ha/etcd-args.ts";
import { findEtcd } from "../../../core/coordinator/ha/etcd-binary.ts";
import { EtcdProcess } from "../../../core/coordinator/ha/etcd-process.ts";
import { haDirOf, readMember, writeMember, type MemberFile } from "../../../core/coordinator/ha/ha-files.ts";
import { CoordinatorOptions } from "../../../core/coordinator/options.ts";
import { haOptionsOf, placeOf } from "../../../core/coordinator/place.ts";
import { processStartTime } from "../../../core/platform/uptime.ts";
import { codeOf, failure, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), "dvs-ha-"));
  closing.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const member: MemberFile = {
  version: 1,
  name: "c1",
  host: "10.0.0.1",
  clientPort: 7402,
  peerPort: 7403,
  phase: "first",
  endpoints: ["https://10.0.0.1:7402"],
};

test("without etcd on the PATH it says how to get one", async () => {
  const { code, message } = await failure(findEtcd(directory()));
  expect([code, message]).toEqual(["FAILED", expect.stringContaining("apt install etcd-server")]);
});

test("a damaged member file is not taken for none: what it stands for is in etcd's data", async () => {
  const dir = haDirOf(directory());
  expect(await readMember(dir)).toBeNull();
  await writeMember(dir, member);
  expect(await readMember(dir)).toEqual(member);
  writeFileSync(dir.member, "{");
  expect(await codeOf(readMember(dir))).toBe("FAILED");
});

test("only the first machine makes a cluster; a joining one names all members, itself by its own name", () => {
  const dir = haDirOf("/d");
  const binary = { path: "/etcd", flags: ["--x"] };
  const first = etcdArgs(dir, member, "10.0.0.1", null, binary);
  expect(first).toContain("--initial-cluster-state=new");
  expect(first).toContain("--initial-cluster=c1=https://10.0.0.1:7403");
  expect(first).toContain("--peer-client-cert-auth");
  const others = [
    { id: "1", name: "c0", peerUrls: ["https://10.0.0.9:7403"], clientUrls: [], learner: false },
    { id: "2", name: "", peerUrls: ["https://10.0.0.1:7403"], clientUrls: [], learner: true },
  ];
  const joining = etcdArgs(dir, { ...member, phase: "joining" }, "0.0.0.0", others, binary);
  expect(joining).toContain("--initial-cluster-state=existing");
  expect(joining).toContain("--initial-cluster=c0=https://10.0.0.9:7403,c1=https://10.0.0.1:7403");
  expect(joining).toContain("--listen-peer-urls=https://0.0.0.0:7403");
});

test("an address that others cannot use, and another store beside it, are refused with advice", async () => {
  const refused = (of: object) => {
    const options = CoordinatorOptions.parse({ dataDir: "/d", ha: true, ...of });
    const identity = { id: "c1", apiPort: 0, agentPort: 0 };
    const log = () => undefined;
    const place = placeOf(options, identity, log);
    return failure(haOptionsOf({ options, identity, place, signal: new AbortController().signal, log }));
  };
  expect((await refused({ listen: "0.0.0.0:7400" })).message).toContain("give --advertise HOST");
  expect((await refused({ store: "etcd://10.0.0.1:2379" })).message).toContain("--store names another");
});

test("an etcd that dies is started again, one that outlived its coordinator is taken over, and a stop ends it", async () => {
  const dir = haDirOf(directory());
  mkdirSync(dir.root, { recursive: true });
  const log: string[] = [];
  const options = {
    dir,
    command: "/bin/sleep",
    args: () => ["1000"],
    log: (level: string, message: string) => void log.push(`${level} ${message}`),
  };
  const etcd = await EtcdProcess.start(options);
  closing.push(() => etcd.stop());
  const first = etcd.pid;
  process.kill(first, "SIGKILL");
  await until(() => etcd.pid !== first && processStartTime(etcd.pid) !== null);
  expect(log[0]).toContain("etcd killed by SIGKILL; it is started again in 0.2 s");
  const successor = await EtcdProcess.start(options);
  expect(successor.pid).toBe(etcd.pid);
  const { pid } = etcd;
  await etcd.stop();
  expect(processStartTime(pid)).toBeNull();
  await successor.stop();
  expect(processStartTime(successor.pid)).toBeNull();
});

describe("joining coordinators", () => {
  test("needs a coordinator token, and a store that the coordinators run themselves", async () => {
    const lab = await Lab.start();
    closing.push(() => lab.close());
    const { joinStore } = await import("../../../core/coordinator/ha/join-store.ts");
    const join = (token: string) =>
      failure(joinStore({ token, id: "c2", host: "127.0.0.1", signal: new AbortController().signal }));
    const node = await lab.api.tokens.create({ kind: "join" });
    expect((await join(node.token)).message).toContain("a coordinator token is needed");
    const { token, id } = await lab.api.tokens.create({ kind: "coordinator" });
    expect((await join(token)).code).toBe("FAILED");
    await lab.api.tokens.remove(id);
    expect((await join(token)).code).toBe("UNAUTHENTICATED");
    const operator = await lab.as("operator");
    expect(await codeOf(operator.tokens.create({ kind: "coordinator" }))).toBe("FORBIDDEN");
    expect(await codeOf(operator.coordinators.remove("c2"))).toBe("FORBIDDEN");
    await operator.instances.create(hello("web"));
  });
});
