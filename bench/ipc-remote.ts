/**
 * Calls and copies between two host processes, at the level of proxies: message out, answer back, over a Unix socket
 * and over mutual TLS.
 *
 *   bun bench/ipc-remote.ts [--rounds 5] [--only remote-call-p50]
 *
 * In the same rounds, each where it is installed: C over TCP (bench/peers/tcp.c, with gcc), Erlang's gen_server:call
 * between two nodes without TLS, request and reply over NATS. One figure for each peer.
 */
import { parseArgs } from "node:util";
import { copyFrameBytes, copyOutstandingBytes, MiB } from "../core/limits.ts";
import { caller, numbers, openPair, type Pair, server, transmit } from "./ipc-pair.ts";
import { emit, median, say } from "./lib.ts";
import { openErlangPeer } from "./peers/erlang-peer.ts";
import { openNatsPeer } from "./peers/nats-peer.ts";
import { openTcpPeer } from "./peers/tcp-peer.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "5" }, only: { type: "string", default: "" } },
});
const rounds = Number(values.rounds);
const body = new Uint8Array(64).fill(7);

const tcp = openTcpPeer();
const erlang = await openErlangPeer();
const nats = await openNatsPeer();
const absent = [!tcp && "gcc", !erlang && "erl", !nats && "nats-server"].filter(Boolean);
if (absent.length > 0) say(`not installed, so not compared with: ${absent.join(", ")}`);

interface Rival {
  peer: string;
  measure: (() => Promise<number>) | undefined;
  /** For Unix sockets and for TLS. */
  goals?: [string, string];
}
interface Work {
  name: string;
  unit: string;
  n: number;
  measure(pair: Pair): Promise<number>;
  rivals: Rival[];
}

const works: Work[] = [
  {
    name: "remote-call",
    unit: "us",
    n: 20_000,
    measure: (pair) => pingPong(pair, 20_000),
    rivals: [
      { peer: "C, TCP", measure: tcp ? () => tcp.pingPongUs(20_000) : undefined },
      {
        peer: "Erlang",
        measure: erlang ? () => erlang.callUs(20_000) : undefined,
        goals: ["≤ 1.0", "≤ 1.2"],
      },
    ],
  },
  {
    name: "remote-call-256",
    unit: "calls/s",
    n: 400_000,
    measure: (pair) => inFlight(pair, 256, 400_000),
    rivals: [
      {
        peer: "Erlang",
        measure: erlang ? () => erlang.parallel(256, 100_000) : undefined,
        goals: ["≥ 6", "≥ 6"],
      },
      { peer: "NATS", measure: nats ? () => nats.parallel(256, 100_000) : undefined, goals: ["≥ 4", "≥ 4"] },
    ],
  },
  {
    name: "bulk-copy",
    unit: "MB/s",
    n: 1,
    measure: (pair) => bulk(pair, 512 * MiB),
    rivals: [
      { peer: "C, TCP", measure: tcp ? () => tcp.bulkMBs(512 * MiB) : undefined, goals: ["≥ 0.6", "stated"] },
    ],
  },
];

/** One call at a time; the median in microseconds. */
function pingPong(pair: Pair, n: number): Promise<number> {
  const times = new Float64Array(n);
  const { promise, resolve } = Promise.withResolvers<number>();
  let call = 0;
  let began = 0;
  const next = () => {
    began = performance.now();
    transmit(pair, [numbers.request, caller, ++call, server, 0, 1, body]);
  };
  pair.onMessage = () => {
    times[call - 1] = performance.now() - began;
    if (call < n) queueMicrotask(next);
    else resolve(times.toSorted()[n >> 1]! * 1_000);
  };
  next();
  return promise;
}

/** So many calls always under way; each answer wakes somebody who makes the next, as a process does. */
function inFlight(pair: Pair, window: number, n: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  let sent = 0;
  let answered = 0;
  const began = performance.now();
  const next = () => {
    if (sent < n) transmit(pair, [numbers.request, caller, ++sent, server, 0, 1, body]);
  };
  pair.onMessage = () => {
    if (++answered === n) resolve(n / ((performance.now() - began) / 1_000));
    else queueMicrotask(next);
  };
  for (let i = 0; i < window; i++) next();
  return promise;
}

/** One copy, in frames, with so much outstanding as the kernel allows. */
function bulk(pair: Pair, bytes: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const frame = new Uint8Array(copyFrameBytes).fill(1);
  let sent = 0;
  let before = -1;
  const began = performance.now();
  const more = (acknowledged: number) => {
    while (sent < bytes && sent - acknowledged < copyOutstandingBytes) {
      transmit(pair, [numbers.data, caller, 1, 1, frame]);
      sent += frame.length;
    }
    if (acknowledged >= bytes) resolve(bytes / 1e6 / ((performance.now() - began) / 1_000));
  };
  pair.onMessage = (message) => {
    if (message[0] !== numbers.dataAck) return;
    // The other side counts over all rounds.
    if (before < 0) before = message[4] - frame.length;
    more(message[4] - before);
  };
  more(0);
  return promise;
}

async function run(work: Work, kind: "unix" | "tls"): Promise<void> {
  const suffix = kind === "tls" ? "-tls" : "";
  const name = work.unit === "us" ? `${work.name}${suffix}-p50` : `${work.name}${suffix}`;
  if (!name.includes(values.only)) return;
  const began = performance.now();
  const ours: number[] = [];
  const theirs = new Map<Rival, number[]>(work.rivals.map((rival) => [rival, []]));
  const pair = await openPair(kind);
  try {
    await work.measure(pair); // Warms both sides up.
    for (let round = 0; round < rounds; round++) {
      ours.push(await work.measure(pair));
      for (const [rival, measured] of theirs) if (rival.measure) measured.push(await rival.measure());
    }
  } finally {
    pair.close();
  }
  const seconds = (performance.now() - began) / 1_000;
  const figure = { name, value: median(ours), unit: work.unit, n: work.n, rounds, seconds };
  let compared = false;
  for (const [{ peer, goals }, measured] of theirs) {
    if (measured.length === 0) continue;
    compared = true;
    emit({
      ...figure,
      peer,
      ratio: median(measured.map((their, i) => ours[i]! / their)),
      ...(goals ? { goal: goals[kind === "unix" ? 0 : 1] } : {}),
      detail: { peer: median(measured) },
    });
  }
  if (!compared) emit(figure);
}

try {
  for (const work of works) for (const kind of ["unix", "tls"] as const) await run(work, kind);
} finally {
  for (const peer of [tcp, erlang, nats]) peer?.close();
}
