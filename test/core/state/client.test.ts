import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { clientNumbers, outcomes, readClientMessage } from "../../../core/state/client/messages.ts";
import { StateClient } from "../../../core/state/client/state-client.ts";
import type { Fields } from "../../../core/state/link/frames.ts";
import type { Link } from "../../../core/state/link/link.ts";
import { type LinkIdentity, listenState } from "../../../core/state/link/listen.ts";
import type { DvsError } from "../../../core/errors.ts";

const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));

const identity = (disk: string, incarnation: string): LinkIdentity => ({
  instance: "u1",
  node: "n1",
  incarnation,
  disk,
  secret: new Uint8Array(32),
  tls: null,
});

/** A replica that does with messages whatever the test says. */
class FakeReplica {
  readonly got: Fields[] = [];
  readonly links: Link[] = [];
  readonly address;
  readonly disk: string;
  readonly onMessage: (fields: Fields, link: Link) => void;
  constructor(disk: string, onMessage: (fields: Fields, link: Link) => void) {
    this.disk = disk;
    this.onMessage = onMessage;
    this.address = { disk, node: "n1", unix: join(dir, `${disk}.sock`), host: "127.0.0.1", port: 0 };
  }
  async listen(): Promise<this> {
    const listener = await listenState({
      identity: identity(this.disk, `i-${this.disk}`),
      socket: this.address.unix,
      host: "127.0.0.1",
      port: 0,
      judge: () => null,
      user: {
        onOpen: (link) => void this.links.push(link),
        onMessage: (fields, link) => {
          this.got.push(fields);
          this.onMessage(fields, link);
        },
        onClose() {},
      },
    });
    cleanups.push(() => {
      listener.stop();
      for (const link of this.links) link.destroy("the test is over");
    });
    return this;
  }
}
let names = 0;
const replica = (onMessage: (fields: Fields, link: Link) => void) =>
  new FakeReplica(`d${names++}`, onMessage).listen();
function client(...replicas: FakeReplica[]): StateClient {
  const made = new StateClient({ identity: identity("", `c${names++}`), random: () => 0 });
  cleanups.push(() => made.close());
  made.setReplicas(replicas.map(({ address }) => address));
  return made;
}
const written = (fields: Fields, outcome: number, value: unknown) => [
  clientNumbers.written,
  readClientMessage("write", fields)[1],
  outcome,
  value,
  7,
];
const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (e: DvsError) => e,
  );

test("a write whose link broke is sent again, to another replica, with the same sequence", async () => {
  const first = await replica((_fields, link) => link.destroy("killed"));
  const second = await replica((fields, link) => link.send(written(fields, outcomes.ok, "done")));
  const answer = await client(first, second).write("kv", { key: "a" });
  expect(answer).toEqual({ value: "done", index: 7 });
  expect(second.got).toEqual(first.got);
});

test("results are acknowledged by later writes", async () => {
  const one = await replica((fields, link) => link.send(written(fields, outcomes.ok, null)));
  const c = client(one);
  await c.write("kv", 1);
  await c.write("kv", 2);
  expect(one.got.map((fields) => readClientMessage("write", fields).slice(1, 3))).toEqual([
    [1, 1],
    [2, 2],
  ]);
});

test("a client of which nothing was carried out acknowledges nothing: the replicas would not know it", async () => {
  let times = 0;
  const one = await replica((fields, link) => {
    const outcome = times++ === 0 ? outcomes.unavailable : outcomes.ok;
    link.send(written(fields, outcome, "too few replicas"));
  });
  const c = client(one);
  expect(await rejection(c.write("kv", 1))).toMatchObject({ code: "UNAVAILABLE" });
  await c.write("kv", 2);
  await c.write("kv", 3);
  expect(one.got.map((fields) => readClientMessage("write", fields)[2])).toEqual([1, 1, 3]);
});

test("a replica that does not serve is left for another", async () => {
  const first = await replica((fields, link) => link.send(written(fields, outcomes.refused, "no primary")));
  const second = await replica((fields, link) => link.send(written(fields, outcomes.ok, 5)));
  expect((await client(first, second).write("kv", 1)).value).toBe(5);
});

test("a replica that does not serve is not gone back to at once because it is told of anew", async () => {
  const near = await replica((fields, link) => {
    // The others have agreed on something meanwhile.
    made.setReplicas([near.address, far.address]);
    link.send(written(fields, outcomes.refused, "no primary"));
  });
  const far = await replica((fields, link) => link.send(written(fields, outcomes.ok, 5)));
  const made = client(near, far);
  expect((await made.write("kv", 1)).value).toBe(5);
  expect(near.got).toHaveLength(1);
});

test("a replica that takes connections and says nothing, like a stopped one, is not waited for", async () => {
  const { address } = await replica(() => {});
  const stopped = { ...address, disk: "stopped", unix: join(dir, "stopped.sock") };
  const taken: Socket[] = [];
  const server = createServer((socket) => void taken.push(socket)).listen(stopped.unix);
  cleanups.push(() => {
    server.close();
    for (const socket of taken) socket.destroy();
  });
  const well = await replica((fields, link) => link.send(written(fields, outcomes.ok, 5)));
  const made = new StateClient({ identity: identity("", `c${names++}`), random: () => 0 });
  cleanups.push(() => made.close());
  made.setReplicas([stopped, well.address]);
  // A handshake has longer than this.
  expect((await made.write("kv", 1, 1_500)).value).toBe(5);
  expect(taken).toHaveLength(1);
  // Told of them anew, it stays with the one that answers.
  made.setReplicas([stopped, well.address]);
  expect((await made.write("kv", 2, 1_500)).value).toBe(5);
});

test("what no replica takes is not carried out, and the error says why", async () => {
  const one = await replica((fields, link) => link.send(written(fields, outcomes.refused, "no primary")));
  const c = client(one);
  // The time may also be up just when it has been sent once more: then nobody knows.
  let error = await rejection(c.write("kv", 1, 30));
  while (error?.code === "OUTCOME_UNKNOWN") error = await rejection(c.write("kv", 1, 30));
  expect(error).toMatchObject({ code: "UNAVAILABLE" });
  expect(error!.message).toContain("no primary");
});

test("a write that may have been carried out has an unknown outcome, also when it is refused afterwards", async () => {
  const silent = await replica(() => {});
  expect(await rejection(client(silent).write("kv", 1, 100))).toMatchObject({ code: "OUTCOME_UNKNOWN" });
  let times = 0;
  const breaks = await replica((fields, link) => {
    if (times++ === 0) link.destroy("killed");
    else link.send(written(fields, outcomes.refused, "no primary"));
  });
  expect(await rejection(client(breaks).write("kv", 1, 300))).toMatchObject({ code: "OUTCOME_UNKNOWN" });
});

test("too few replicas in sync is told at once", async () => {
  const one = await replica((fields, link) =>
    link.send(written(fields, outcomes.unavailable, "1 of 2 replicas")),
  );
  const error = await rejection(client(one).write("kv", 1, 60_000));
  expect(error).toMatchObject({ code: "UNAVAILABLE" });
  expect(error!.message).toContain("1 of 2 replicas");
});

test("a reader waits for the first replica that there is", async () => {
  const c = client();
  const value = c.read("kv", "a");
  const one = await replica((fields, link) => {
    const [, ticket, module, query] = readClientMessage("read", fields);
    link.send([clientNumbers.answer, ticket, outcomes.ok, [module, query], 3]);
  });
  c.setReplicas([one.address]);
  expect(await value).toEqual({ value: ["kv", "a"], index: 3 });
});

test("what is followed goes on behind the last value after a broken link", async () => {
  const serve = (fields: Fields, link: Link) => {
    if (fields[0] !== clientNumbers.follow) return;
    const [, ticket, , query] = readClientMessage("follow", fields);
    const after = query as number;
    link.send([clientNumbers.event, ticket, after + 1]);
    link.send([clientNumbers.event, ticket, after + 2]);
    if (after < 4) setTimeout(() => link.close(), 5);
  };
  const [first, second] = [await replica(serve), await replica(serve)];
  const got: unknown[] = [];
  const abort = new AbortController();
  for await (const value of client(first, second).follow("kv", 0, (_query, last) => last, abort.signal)) {
    if (got.push(value) === 6) abort.abort();
  }
  expect(got).toEqual([1, 2, 3, 4, 5, 6]);
});

test("a closed client rejects what is under way", async () => {
  const silent = await replica(() => {});
  const c = client(silent);
  const [write, read] = [rejection(c.write("kv", 1)), rejection(c.read("kv", 1))];
  while (silent.got.length < 2) await Bun.sleep(2);
  c.close();
  expect([(await write)?.code, (await read)?.code]).toEqual(["OUTCOME_UNKNOWN", "UNAVAILABLE"]);
  expect(await rejection(c.write("kv", 1))).toMatchObject({ code: "UNAVAILABLE" });
});
