import { expect, test } from "bun:test";
import { stateUnsentBytesMax } from "../../../core/limits.ts";
import { ClientServer } from "../../../core/state/client-server.ts";
import { clientNumbers } from "../../../core/state/client/messages.ts";
import type { Fields } from "../../../core/state/link/frames.ts";
import type { Link } from "../../../core/state/link/link.ts";
import type { ReplicaHost } from "../../../core/state/replica-host.ts";

/** Somebody who follows a module that always has the same to say, over a link that takes nothing at first. */
function following() {
  let looks = 0;
  const sent: Fields[] = [];
  const module = { follow: () => ({ next: () => (looks++, [looks]) }) };
  const host = { module: () => module } as unknown as ReplicaHost;
  const link = { queued: stateUnsentBytesMax + 1, send: (fields: Fields) => void sent.push(fields) };
  const server = new ClientServer(host);
  server.onOpen(link as unknown as Link);
  const say = (...fields: unknown[]) => server.onMessage(fields, link as unknown as Link);
  return { server, link, sent, say, looks: () => looks };
}

test("who reads too slowly is told the rest once it has read, and not once for each record meanwhile", async () => {
  const { server, link, sent, say, looks } = following();
  say(clientNumbers.follow, 1, "some", null);
  for (let record = 0; record < 1_000; record++) server.applied();
  expect(looks()).toBe(0);
  link.queued = 0;
  const endMs = performance.now() + 5_000;
  while (sent.length === 0 && performance.now() < endMs) await Bun.sleep(5);
  await Bun.sleep(60);
  expect(looks()).toBe(1);
  server.applied();
  expect(sent).toHaveLength(2);
});

test("who has stopped following is told nothing any more", async () => {
  const { link, sent, say } = following();
  say(clientNumbers.follow, 1, "some", null);
  say(clientNumbers.unfollow, 1);
  link.queued = 0;
  await Bun.sleep(60);
  expect(sent).toEqual([]);
});
