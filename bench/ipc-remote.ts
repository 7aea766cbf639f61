/**
 * Calls and copies between two host processes, at the level of proxies: message out, answer back, over a Unix socket
 * and over mutual TLS.  bun bench/ipc-remote.ts [--rounds 3] [--only remote-call-p50]
 *
 * Beside it, in the same rounds: C over TCP (bench/peers/tcp.c), where a compiler is there.
 */
import { parseArgs } from "node:util";
import { copyFrameBytes, copyOutstandingBytes, MiB } from "../core/limits.ts";
import { caller, numbers, openPair, type Pair, server, transmit } from "./ipc-pair.ts";
import { emit, median, say } from "./lib.ts";
import { openTcpPeer, type TcpPeer } from "./peers/tcp-peer.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, only: { type: "string", default: "" } },
});
const rounds = Number(values.rounds);
const body = new Uint8Array(64).fill(7);

interface Work {
  name: string;
  unit: string;
  kind: "unix" | "tls";
  n: number;
  ours(pair: Pair): Promise<number>;
  theirs(peer: TcpPeer): Promise<number>;
  /** ours / theirs is the ratio; else theirs / ours. */
  more: boolean;
}

const works: Work[] = (["unix", "tls"] as const).flatMap((kind): Work[] => {
  const suffix = kind === "tls" ? "-tls" : "";
  return [
    {
      name: `remote-call${suffix}-p50`,
      unit: "us",
      kind,
      n: 20_000,
      ours: (pair) => pingPong(pair, 20_000),
      theirs: (peer) => peer.pingPongUs(20_000),
      more: false,
    },
    {
      name: `remote-call-256${suffix}`,
      unit: "calls/s",
      kind,
      n: 400_000,
      ours: (pair) => inFlight(pair, 256, 400_000),
      theirs: (peer) => peer.pipelined(256, 400_000),
      more: true,
    },
    {
      name: `bulk-copy${suffix}`,
      unit: "MB/s",
      kind,
      n: 1,
      ours: (pair) => bulk(pair, 512 * MiB),
      theirs: (peer) => peer.bulkMBs(512 * MiB),
      more: true,
    },
  ];
});

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
    else resolve(times.toSorted()[n >> 1]! * 1000);
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
    if (++answered === n) resolve(n / ((performance.now() - began) / 1000));
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
  let base = -1;
  const began = performance.now();
  const more = (acknowledged: number) => {
    while (sent < bytes && sent - acknowledged < copyOutstandingBytes) {
      transmit(pair, [numbers.data, caller, 1, 1, frame]);
      sent += frame.length;
    }
    if (acknowledged >= bytes) resolve(bytes / 1e6 / ((performance.now() - began) / 1000));
  };
  pair.onMessage = (message) => {
    if (message[0] !== numbers.dataAck) return;
    // The other side counts over all rounds.
    if (base < 0) base = message[4] - frame.length;
    more(message[4] - base);
  };
  more(0);
  return promise;
}

const peer = openTcpPeer();
if (!peer) say("no gcc: nothing to compare with");
try {
  for (const work of works) {
    if (!work.name.includes(values.only)) continue;
    const began = performance.now();
    const ours: number[] = [];
    const theirs: number[] = [];
    const pair = await openPair(work.kind);
    try {
      await work.ours(pair); // Warms both sides up.
      for (let round = 0; round < rounds; round++) {
        ours.push(await work.ours(pair));
        if (peer) theirs.push(await work.theirs(peer));
      }
    } finally {
      pair.close();
    }
    const ratios = theirs.map((their, i) => (work.more ? ours[i]! / their : ours[i]! / their));
    emit({
      name: work.name,
      value: median(ours),
      unit: work.unit,
      n: work.n,
      rounds,
      seconds: (performance.now() - began) / 1000,
      ...(peer
        ? { peer: "C, TCP on loopback", ratio: median(ratios), detail: { peer: median(theirs) } }
        : {}),
    });
  }
} finally {
  peer?.close();
}
