import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Replica } from "../../../core/replica/configuration.ts";
import { messageTable, type ReplicaMessage } from "../../../core/replica/messages.ts";
import { Link } from "../../../core/state/link/link.ts";
import { dialState, type LinkIdentity, listenState } from "../../../core/state/link/listen.ts";
import { ReplicaLinks } from "../../../core/state/replica-links.ts";
import { readReplicaMessage } from "../../../core/state/replica-wire.ts";
import { Rooms } from "../../../core/state/rooms.ts";

const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean();
});
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));

const diskOf = (n: number) => String(n).repeat(32);
const identityOf = (disk: string): LinkIdentity => ({
  instance: "u1",
  node: "n1",
  incarnation: `i${disk[0]}`,
  disk,
  secret: new Uint8Array(32),
  tls: null,
});
const replicaOf = (n: number): Replica => ({
  node: "n1",
  disk: diskOf(n),
  incarnation: `i${n}`,
  unix: join(dir, `${n}.sock`),
  host: "127.0.0.1",
  port: 0,
});

class Lab {
  readonly links: ReplicaLinks;
  readonly got: [string, ReplicaMessage][] = [];
  readonly hints: string[] = [];
  readonly rooms: unknown[] = [];
  accepted: Link | null = null;
  stop = () => {};
  readonly disk: string;
  constructor(n: number) {
    this.disk = diskOf(n);
    this.links = new ReplicaLinks({
      identity: identityOf(this.disk),
      onMessage: (from, message) => void this.got.push([from, message]),
      onTransfer: () => undefined,
      onBlocks: () => undefined,
      onRoom: (from, fields) => void this.rooms.push([from, ...fields]),
      onUp: (disk) => void this.hints.push(`up ${disk[0]}`),
      onDown: (disk) => void this.hints.push(`down ${disk[0]}`),
    });
  }
  async listen(n: number): Promise<this> {
    const listener = await listenState({
      identity: identityOf(this.disk),
      socket: join(dir, `${n}.sock`),
      host: "127.0.0.1",
      port: 0,
      judge: ({ disk, node }) => this.links.judge(disk, node),
      user: {
        onOpen: (link) => {
          this.accepted = link;
          this.links.accepted(link);
        },
        onMessage: (fields, link) => this.links.received(link, fields),
        onClose: (why, link) => this.links.closed(link, why),
      },
    });
    this.stop = () => listener.stop();
    cleanups.push(() => {
      listener.stop();
      this.links.close();
    });
    return this;
  }
}
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(2);
}
const readIndex = (ticket: number): ReplicaMessage => [messageTable.readIndex.number, "i1", ticket];

test("two replicas that know of each other get one link, and another when it breaks", async () => {
  const [one, two] = [await new Lab(1).listen(1), await new Lab(2).listen(2)];
  const both = [replicaOf(1), replicaOf(2)];
  two.links.setReplicas(both);
  one.links.setReplicas(both);
  await until(() => one.hints.length === 1 && two.hints.length === 1);
  one.links.send(diskOf(2), readIndex(7));
  two.links.send(diskOf(1), readIndex(8));
  await until(() => one.got.length === 1 && two.got.length === 1);
  expect(two.got).toEqual([[diskOf(1), readIndex(7)]]);
  expect(one.got).toEqual([[diskOf(2), readIndex(8)]]);
  two.accepted!.destroy("cut");
  await until(() => one.hints.length === 3 && two.hints.length === 3);
  expect(one.hints).toEqual(["up 2", "down 2", "up 2"]);
  one.links.send(diskOf(2), readIndex(9));
  await until(() => two.got.length === 2);
});

test("a replica that is not there yet is dialled until it is", async () => {
  const one = await new Lab(1).listen(1);
  one.links.setReplicas([replicaOf(1), replicaOf(3)]);
  await Bun.sleep(30);
  const three = await new Lab(3).listen(3);
  three.links.setReplicas([replicaOf(1)]);
  await until(() => one.hints.includes("up 3"));
});

test("a replica that is none of the instance, or elsewhere, is not welcome; one that has gone is forgotten", async () => {
  const two = await new Lab(2).listen(2);
  two.links.setReplicas([replicaOf(1)]);
  expect(two.links.judge(diskOf(9), "n1")).toContain("not one of the instance");
  expect(two.links.judge(diskOf(1), "n7")).toContain("is on node n1");
  expect(two.links.judge(diskOf(1), "n1")).toBeNull();
  const closed: string[] = [];
  dialState({
    identity: identityOf(diskOf(9)),
    to: replicaOf(2),
    role: "replica",
    toDisk: diskOf(2),
    user: { onOpen() {}, onMessage() {}, onClose: (why) => void closed.push(why) },
  });
  await until(() => closed.length === 1);
  expect(closed[0]).toContain("refused");
  two.links.setReplicas([]);
  expect(two.links.judge(diskOf(1), "n1")).not.toBeNull();
});

test("fields that are not what the message table says break the link", () => {
  const bytes = new Uint8Array(3);
  const good: unknown[][] = [
    [messageTable.append.number, 1, 1, 5, 5, bytes],
    [messageTable.beacon.number, 3, 17.5, 0, "", 1, 2, 3],
    [messageTable.forward.number, "i1", [[1, "c", 1, 1, 1, "kv", bytes]]],
    [messageTable.forwarded.number, "i1", [[1, "no-primary", bytes, 0]]],
  ];
  for (const message of good) {
    expect(readReplicaMessage(message)).toEqual(message as unknown as ReplicaMessage);
    expect(() => readReplicaMessage(message.slice(0, -1))).toThrow();
    expect(() => readReplicaMessage([...message, 0])).toThrow();
    for (let i = 1; i < message.length; i++) {
      for (const wrong of [-1, NaN, {}, null, undefined, "\n"]) {
        expect(() => readReplicaMessage(message.with(i, wrong))).toThrow();
      }
    }
  }
  expect(() => readReplicaMessage([999])).toThrow();
});

test("replicas tell each other how much room they have, and nothing to those that do not know of it", async () => {
  const [one, two] = [await new Lab(1).listen(1), await new Lab(2).listen(2)];
  const both = [replicaOf(1), replicaOf(2)];
  two.links.setReplicas(both);
  one.links.setReplicas(both);
  await until(() => one.hints.length === 1 && two.hints.length === 1);
  const rooms = new Rooms(() => 7_000);
  one.links.tellRoom(rooms.message);
  await until(() => two.rooms.length === 1);
  expect(two.rooms).toEqual([[diskOf(1), ...rooms.message]]);
  // As with a replica of the version before.
  two.accepted!.peer!.protocol = 1;
  two.links.tellRoom(rooms.message);
  two.links.send(diskOf(1), readIndex(7));
  await until(() => one.got.length === 1);
  expect(one.rooms).toEqual([]);
});
