/**
 * Messages between two processes of one container on one core, through the public calls: privileges declared, a
 * time-out armed, the answer awaited. Erlang's local gen_server:call and send in the same rounds, where `erl` is.
 *
 *   bun bench/ipc-local.ts [--rounds 5] [--seconds 1]
 */
import { spawnSync } from "node:child_process";
import { Kernel } from "../core/kernel/kernel.ts";
import { MemoryRecordLog } from "../core/kernel/memory-record-log.ts";
import type { Process } from "../core/kernel/process.ts";
import { ipcOptions } from "./ipc-options.ts";
import { emit, median, say } from "./lib.ts";

const { rounds, seconds: asked, wants } = ipcOptions();
const seconds = Number.isNaN(asked) ? 1 : asked;
const group = { client: 1, server: 2 };
const timeout = { timeoutMs: 5_000 };

const startedMs = performance.now();
const kernel = new Kernel({
  member: {
    ...{ incarnation: "bench", node: "bench", cpu: 0, unix: "", host: "", port: 0 },
    ...{ protocol: 1, protocolMin: 1 },
  },
  log: new MemoryRecordLog(),
  uptimeMs: () => performance.now(),
});
const running = kernel.run();
const server = await kernel.bind({
  name: "server",
  privileges: { level: "server", group: group.server, from: [group.client], to: [group.client] },
});
const client = await kernel.bind({ privileges: { group: group.client, to: [group.server] } });
const to = server.endpoint;

const erlang = erlangFile();
const ours = { oneway: [] as number[], call: [] as number[] };
const theirs = { oneway: [] as number[], call: [] as number[] };
// The first round warms up the code, and is not counted.
for (let round = 0; round <= rounds; round++) {
  const oneway = await rate(sends);
  const call = await rate(calls);
  const peer = erlang && round > 0 ? runErlang() : null;
  if (round === 0) continue;
  ours.oneway.push(oneway);
  ours.call.push(call);
  if (peer) {
    theirs.oneway.push(peer.oneway);
    theirs.call.push(peer.call);
  }
  say(
    `round ${round}: ${text(oneway)} one way, ${text(call)} calls${peer ? `; erlang ${text(peer.oneway)}, ${text(peer.call)}` : ""}`,
  );
}
kernel.stop();
await running;
if (wants("local-oneway")) figure("local-oneway", ours.oneway, theirs.oneway, ">= 2,000,000");
if (wants("local-call")) figure("local-call", ours.call, theirs.call, ">= 1,500,000 and >= 2 x Erlang");

/** Messages that the receiver's process has taken; each send awaited by its sender. */
async function sends(count: number): Promise<void> {
  const receiving = receive(server, count);
  for (let i = 0; i < count; i++) await client.send(to, { type: 1, body: i }, timeout);
  await receiving;
}
async function receive(process: Process, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const message = await process.receive();
    if (message.body !== i) throw new Error(`message ${i} is ${String(message.body)}`);
  }
}

/** Calls whose replies the caller has. */
async function calls(count: number): Promise<void> {
  const replying = reply(server, count);
  for (let i = 0; i < count; i++) {
    const answer = await client.sendrec(to, { type: 1, body: i }, timeout);
    if (answer.body !== i) throw new Error(`reply ${i} is ${String(answer.body)}`);
  }
  await replying;
}
async function reply(process: Process, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const request = await process.receive();
    process.reply(request, { type: 2, body: request.body });
  }
}

/** A second, in pieces between which timers and other work of the loop get their turn. */
async function rate(work: (count: number) => Promise<void>): Promise<number> {
  const piece = 20_000;
  let done = 0;
  const from = performance.now();
  for (;;) {
    await work(piece);
    done += piece;
    const ms = performance.now() - from;
    if (ms >= seconds * 1_000) return (done * 1_000) / ms;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function figure(name: string, values: number[], peers: number[], goal: string): void {
  const elapsed = Math.round((performance.now() - startedMs) / 1_000);
  emit({
    ...{
      name,
      value: Math.round(median(values)),
      unit: "messages/s",
      n: values.length,
      rounds,
      seconds: elapsed,
    },
    ...(peers.length > 0
      ? { peer: "Erlang", ratio: median(values.map((value, i) => value / peers[i]!)) }
      : {}),
    goal,
    detail: {
      values: values.map(Math.round),
      ...(peers.length > 0 ? { erlang: peers.map(Math.round) } : {}),
    },
  });
}

function erlangFile(): string | null {
  if (spawnSync("sh", ["-c", "command -v erlc"]).status !== 0) {
    say("without a peer: there is no erl (apt-get install erlang-base)");
    return null;
  }
  return new URL("peers/local_call.erl", import.meta.url).pathname;
}

function runErlang(): { oneway: number; call: number } {
  const ms = String(seconds * 1_000);
  // escript would interpret it: -S1 and compiled code, one scheduler as ours is one loop.
  const compile = `{ok,M,B}=compile:file("${erlang}",[binary]),code:load_binary(M,"",B),M:main(${ms}),halt()`;
  const { stdout, stderr, status } = spawnSync("erl", ["+S", "1", "-noshell", "-eval", compile], {
    encoding: "utf8",
  });
  const found = /oneway (\d+) call (\d+)/.exec(stdout);
  if (status !== 0 || !found) throw new Error(`erl failed: ${stderr || stdout}`);
  return { oneway: Number(found[1]), call: Number(found[2]) };
}

function text(perSecond: number): string {
  return `${(perSecond / 1e6).toFixed(2)} M/s`;
}
