import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  encodeFrame,
  encodeParts,
  type Fields,
  FrameSplitter,
  ownWriteBytes,
} from "../../../core/state/link/frames.ts";
import { dialState, type LinkIdentity, listenState } from "../../../core/state/link/listen.ts";
import type { Link, LinkUser } from "../../../core/state/link/link.ts";
import type { Hello } from "../../../core/state/link/handshake.ts";
import { connect } from "../../../core/platform/tcp.ts";

const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));

const secret = new Uint8Array(32).fill(7);
const identity = (disk: string, change: Partial<LinkIdentity> = {}): LinkIdentity => ({
  instance: "u1",
  node: "n1",
  incarnation: `i-${disk}`,
  disk,
  secret,
  tls: null,
  ...change,
});

interface Side extends LinkUser {
  opened: Link[];
  messages: Fields[];
  closed: string[];
}
function side(onMessage: (fields: Fields, link: Link) => void = () => {}): Side {
  const s: Side = {
    opened: [],
    messages: [],
    closed: [],
    onOpen: (link) => void s.opened.push(link),
    onMessage(fields, link) {
      s.messages.push(fields);
      onMessage(fields, link);
    },
    onClose: (why) => void s.closed.push(why),
  };
  return s;
}
let sockets = 0;
async function serve(user: LinkUser, judge: (hello: Hello) => string | null = () => null): Promise<string> {
  const socket = join(dir, `s${sockets++}.sock`);
  const listener = await listenState({
    identity: identity("d1"),
    socket,
    host: "127.0.0.1",
    port: 0,
    judge,
    user,
  });
  cleanups.push(() => listener.stop());
  return socket;
}
function dial(unix: string, user: LinkUser, change: Partial<LinkIdentity> = {}, toDisk = "d1"): Link {
  const to = { node: "n1", unix, host: "127.0.0.1", port: 1 };
  const link = dialState({ identity: identity("d2", change), to, role: "replica", toDisk, user });
  cleanups.push(() => link.destroy("the test is over"));
  return link;
}
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(2);
}

test("messages arrive in order, also those of many megabytes", async () => {
  const server = side((fields, link) => link.send([17, (fields[1] as Uint8Array).length]));
  const client = side();
  const link = dial(await serve(server), client);
  await until(() => client.opened.length === 1);
  expect(client.opened[0]!.peer).toMatchObject({ role: "replica", disk: "d1", incarnation: "i-d1" });
  const sizes = [0, 1, 70_000, 7_000_000, 3];
  for (const size of sizes) link.send([16, new Uint8Array(size)]);
  await until(() => client.messages.length === sizes.length);
  expect(client.messages).toEqual(sizes.map((size) => [17, size]));
  expect(server.opened[0]!.peer).toMatchObject({ role: "replica", disk: "d2", node: "n1" });
});

test("who does not know the instance's secret gets no link", async () => {
  const server = side();
  const client = side();
  dial(await serve(server), client, { secret: new Uint8Array(32).fill(8) });
  await until(() => client.closed.length === 1 && server.closed.length === 1);
  expect(client.closed[0]).toContain("secret");
  expect([...client.opened, ...server.opened]).toEqual([]);
});

test("a link to another instance or replica, or that the replica does not want, is refused with the reason", async () => {
  const server = side();
  const socket = await serve(server, (hello) => (hello.disk === "d9" ? "replica d9 is not wanted" : null));
  const other = side();
  dial(socket, other, { instance: "u2" });
  const replaced = side();
  dial(socket, replaced, {}, "d7");
  const unwanted = side();
  dial(socket, unwanted, { disk: "d9" });
  await until(() => other.closed.length + replaced.closed.length + unwanted.closed.length === 3);
  expect(other.closed[0]).toContain("this is instance u1");
  expect(replaced.closed[0]).toContain("this is replica d1");
  expect(unwanted.closed[0]).toContain("not wanted");
});

test("garbage and too large frames close the stream and hurt nobody else", async () => {
  const server = side();
  const socket = await serve(server);
  for (const bytes of [
    new Uint8Array([0xff, 0xff, 0xff, 0xff]),
    new Uint8Array([0, 0, 0, 1, 0xc1]),
    encodeFrame([16, "before the handshake"]),
    encodeFrame([1, 1, 1, "u1"]),
  ]) {
    const closed = Promise.withResolvers<void>();
    const stream = connect(
      { address: { socket }, tls: null },
      {
        onOpen: () => void stream.write(bytes, 0, bytes.length),
        onData() {},
        onDrain() {},
        onEnd: () => stream.destroy(),
        onClose: () => closed.resolve(),
      },
    );
    await closed.promise;
  }
  const client = side();
  dial(socket, client);
  await until(() => client.opened.length === 1);
});

test("an end without a bye is a broken link, and both sides are told once", async () => {
  const server = side();
  const client = side();
  const link = dial(await serve(server), client);
  await until(() => server.opened.length === 1);
  link.destroy("cut");
  link.destroy("cut again");
  await until(() => server.closed.length === 1);
  expect(client.closed).toEqual(["cut"]);
  const next = side();
  const nextLink = dial(await serve(server), next);
  await until(() => next.opened.length === 1);
  nextLink.send([16, "last words"]);
  nextLink.close();
  await until(() => server.closed.length === 2);
  expect(server.messages.at(-1)).toEqual([16, "last words"]);
  expect(server.closed[1]).toBe("the peer has said bye");
});

test("a dial to nobody tells why", async () => {
  const client = side();
  dial(join(dir, "nobody.sock"), client);
  await until(() => client.closed.length === 1);
  expect(client.closed[0]).not.toBe("");
});

test("frames come out whole however the stream is cut", () => {
  const frames = [[16, "a"], [17, new Uint8Array(300).fill(3)], [18]];
  const stream = Buffer.concat(frames.map((fields) => encodeFrame(fields)));
  for (let size = 1; size < stream.length; size++) {
    const splitter = new FrameSplitter(1_000);
    const got: unknown[] = [];
    for (let at = 0; at < stream.length; at += size) {
      splitter.feed(Uint8Array.from(stream.subarray(at, at + size)), (fields) => got.push(fields) > 0);
    }
    expect(got).toEqual(frames);
  }
});

test("a message is whole however its fields are nested, and however many there are", () => {
  const bytes = new Uint8Array(ownWriteBytes).fill(3);
  const long = Array.from({ length: 15 }, (_, i) => i);
  for (const fields of [
    [16, [[bytes]]],
    [16, [[[bytes]]]],
    [16, ...long, bytes],
    [16, [...long, bytes]],
    [16, [...long.slice(1), bytes]],
    [16, [bytes, []]],
    [16, []],
  ]) {
    const came: Fields[] = [];
    new FrameSplitter(1_000_000).feed(Buffer.concat(encodeParts(fields)), (each) => came.push(each) > 0);
    expect(came).toEqual([fields]);
  }
});

test("a message that ends with many bytes goes without a copy of them, and arrives as any other", () => {
  for (const bytes of [0, 1, ownWriteBytes - 1, ownWriteBytes, 300_000]) {
    for (const fields of [
      [16, new Uint8Array(bytes).fill(7)],
      [72, 2 ** 40, "text", [1], new Uint8Array(bytes)],
      // As an operation that writes to a file.
      [18, 1, 1, "files", [7, [0, 0, []], 2 ** 33, -1, new Uint8Array(bytes).fill(9)]],
    ]) {
      const parts = encodeParts(fields);
      const last: unknown = fields.at(-1);
      expect(parts.at(-1) === (Array.isArray(last) ? last.at(-1) : last)).toBe(bytes >= ownWriteBytes);
      const came: Fields[] = [];
      new FrameSplitter(1_000_000).feed(
        Buffer.concat([...parts, ...encodeParts([17])]),
        (each) => came.push(each) > 0,
      );
      expect(came).toEqual([fields, [17]]);
    }
  }
});
