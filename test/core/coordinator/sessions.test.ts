import { expect, test } from "bun:test";
import type { Desired, ToAgent } from "../../../core/agent-protocol.ts";
import { Sessions } from "../../../core/coordinator/sessions.ts";
import { codeOf } from "./lab.ts";

function desired(revision: number): Desired {
  return {
    clusterId: "c",
    storeGeneration: 1,
    revision,
    node: { id: "n-1", name: "n1", address: "127.0.0.1" },
    containers: [],
    replicas: [],
    routes: [],
  };
}

async function next(source: { lines: AsyncGenerator }): Promise<ToAgent | undefined> {
  const { value, done } = await source.lines.next();
  return done ? undefined : (value as ToAgent);
}

test("a change between the opening of a stream and its first read is not lost", async () => {
  const sessions = new Sessions();
  const stream = sessions.listen("n-1", desired(1));
  sessions.desired("n-1", desired(2));
  expect(await next(stream)).toEqual({ type: "desired", desired: desired(2) });
});

test("somebody to whom nothing is to be told yet hears that somebody is there", async () => {
  const sessions = new Sessions();
  expect(await next(sessions.listen("n-1", null))).toEqual({ type: "ping" });
});

test("the newest stream of a node wins: the older one ends, and its end does not touch the newer", async () => {
  const sessions = new Sessions();
  const old = sessions.listen("n-1", desired(1));
  await next(old);
  const waiting = next(old);
  const young = sessions.listen("n-1", null);
  expect(await waiting).toBeUndefined();
  old.stop();
  sessions.desired("n-1", desired(3));
  await next(young);
  expect(await next(young)).toEqual({ type: "desired", desired: desired(3) });
});

test("a slow agent gets the newest Desired only, and every request for logs", async () => {
  const sessions = new Sessions();
  const stream = sessions.listen("n-1", null);
  await next(stream);
  const { signal } = new AbortController();
  const logs = (uid: string) =>
    void sessions.logs("n-1", { uid, tailLines: 1, follow: false }, signal).catch(() => undefined);
  for (let revision = 1; revision <= 1_000; revision++) sessions.desired("n-1", desired(revision));
  logs("a");
  logs("b");
  expect(await next(stream)).toMatchObject({ type: "desired", desired: { revision: 1_000 } });
  expect(await next(stream)).toMatchObject({ type: "logs", uid: "a" });
  expect(await next(stream)).toMatchObject({ type: "logs", uid: "b" });
});

test("`removed` is the last message", async () => {
  const sessions = new Sessions();
  const stream = sessions.listen("n-1", null);
  await next(stream);
  sessions.desired("n-1", desired(1));
  sessions.removed("n-1");
  sessions.close();
  expect(await next(stream)).toMatchObject({ type: "desired" });
  expect(await next(stream)).toEqual({ type: "removed" });
  expect(await next(stream)).toBeUndefined();
});

test("a stream that another node sends is refused: it was not asked for it", async () => {
  const sessions = new Sessions();
  const stream = sessions.listen("n-1", null);
  await next(stream);
  const abort = new AbortController();
  const wanted = sessions.logs("n-1", { uid: "u", tailLines: 1, follow: false }, abort.signal);
  const message = (await next(stream)) as { id: string };
  const body = () => new Response("secret of n-2\n").body!;
  expect(await codeOf(sessions.accept("n-2", message.id, body()))).toBe("NOT_FOUND");
  const taken = sessions.accept("n-1", message.id, new Response("log of n-1\n").body!);
  expect(await new Response(await wanted).text()).toBe("log of n-1\n");
  await taken;
  // Once only.
  expect(await codeOf(sessions.accept("n-1", message.id, body()))).toBe("NOT_FOUND");
});
