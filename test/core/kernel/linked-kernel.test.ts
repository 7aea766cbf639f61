/** Two kernels with real links between them, of one node. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LinkedKernel, linkKernel } from "../../../core/kernel/linked-kernel.ts";
import { MemoryRecordLog } from "../../../core/kernel/memory-record-log.ts";
import type { Process } from "../../../core/kernel/process.ts";
import type { Stream } from "../../../core/platform/tcp.ts";
import { copyFrameBytes, frameBlockBytes, linkBytesHigh, messageBytesMax } from "../../../core/limits.ts";

const dirs: string[] = [];
const kernels: LinkedKernel[] = [];
afterEach(() => {
  for (const { kernel, links } of kernels.splice(0)) {
    kernel.stop();
    links.close();
  }
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

async function pair(): Promise<[LinkedKernel, LinkedKernel]> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  dirs.push(dir);
  const log = new MemoryRecordLog();
  for (const incarnation of ["i1", "i2"]) {
    const linked = await linkKernel({
      member: { incarnation, node: "n1", cpu: 0, host: "" },
      links: {
        ...{ instance: "u1", tls: null, report: () => {} },
        unix: { path: join(dir, incarnation), secret: new Uint8Array(16).fill(1), node: "n1" },
      },
      log,
    });
    kernels.push(linked);
    void linked.run();
  }
  return [kernels[0]!, kernels[1]!];
}

/** A process that replies with what it was sent, until its kernel stops. */
function echo(process: Process): void {
  void (async () => {
    for (;;) {
      const request = await process.receive();
      process.reply(request, { type: 2, body: request.body });
    }
  })().catch(() => undefined);
}

test("a peer that does not read costs its bounds, however much is called and copied; all of it ends when it reads", async () => {
  const [near, far] = await pair();
  // Each destination has a window of its own: together many times what a link may hold.
  const servers = await Promise.all(Array.from({ length: 60 }, () => far.kernel.bind()));
  for (const server of servers) echo(server);
  const owner = await far.kernel.bind();
  const grant = owner.grant({ buffer: new Uint8Array(4 * copyFrameBytes), access: "write" });
  const caller = await near.kernel.bind();
  // So that the way to each of them is known.
  for (const server of servers) await caller.sendrec(server.endpoint, { type: 1, body: null });
  await caller.write(owner.endpoint, grant, 0, new Uint8Array(1));

  const { calls, bulk } = near.links.proxies.peers.get(far.kernel.machine.id)!;
  const theirs = far.links.proxies.peers.get(near.kernel.machine.id)!;
  const stuck = [theirs.calls, theirs.bulk].map((channel) => channel.link!.wire as Stream);
  for (const stream of stuck) stream.pause();
  const body = new Uint8Array(messageBytesMax / 2);
  const copied = new Uint8Array(4 * copyFrameBytes);
  const waiting: Promise<unknown>[] = [];
  for (let i = 0; i < 4; i++) {
    for (const { endpoint } of servers) waiting.push(caller.sendrec(endpoint, { type: 1, body }));
  }
  for (let i = 0; i < 60; i++) waiting.push(caller.write(owner.endpoint, grant, 0, copied));
  const most = { calls: 0, bulk: 0, wire: 0 };
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    most.calls = Math.max(most.calls, calls.outbox.bytes);
    most.bulk = Math.max(most.bulk, bulk.outbox.bytes);
    for (const { link } of [calls, bulk]) most.wire = Math.max(most.wire, link?.wire?.queued ?? 0);
  }
  const frame = messageBytesMax + 1_024;
  // They were reached, and not exceeded by more than the message that reached them.
  expect(most.calls).toBeGreaterThanOrEqual(linkBytesHigh);
  expect(most.calls).toBeLessThanOrEqual(linkBytesHigh + frame);
  expect(most.bulk).toBeGreaterThanOrEqual(linkBytesHigh);
  expect(most.bulk).toBeLessThanOrEqual(linkBytesHigh + frame);
  expect(most.wire).toBeLessThanOrEqual(frameBlockBytes + frame);

  for (const stream of stuck) stream.resume();
  const replies = (await Promise.all(waiting)).slice(0, 4 * servers.length) as { body: Uint8Array }[];
  expect(replies.every((reply) => reply.body.length === body.length)).toBe(true);
  expect(owner.proc.counters.bytesCopied).toBe(60 * copied.length + 1);
});
