/**
 * Calls and copies between processes of two host processes, through the public calls: privileges declared, a time-out
 * armed, the answer awaited; over a Unix socket and over mutual TLS.
 *
 *   bun bench/ipc-remote.ts [--rounds 5] [--only remote-call-p50]
 *
 * In the same rounds, each where it is installed: C over a Unix socket or TCP (bench/peers/tcp.c, with gcc), Erlang's
 * gen_server:call between two nodes without TLS, request and reply over NATS with a lean client of our own and with its
 * makers'. One figure for each peer.
 */
import { MiB } from "../core/limits.ts";
import { ipcOptions } from "./ipc-options.ts";
import { openPair, type Pair, timeout } from "./ipc-pair.ts";
import { type LinkKind, toServers, vaultBytes } from "./ipc-plan.ts";
import { emit, median, say } from "./lib.ts";
import { openErlangPeer } from "./peers/erlang-peer.ts";
import { openNatsClientPeer } from "./peers/nats-client-peer.ts";
import { openNatsPeer } from "./peers/nats-peer.ts";
import { openTcpPeer } from "./peers/tcp-peer.ts";

const { rounds, wants } = ipcOptions();
const callers = 256;
const bulkBytes = 512 * MiB;
const body = new Uint8Array(64).fill(7);

const tcp = openTcpPeer();
const erlang = await openErlangPeer();
const nats = await openNatsPeer();
const natsClient = nats && (await openNatsClientPeer(nats.port));
const absent = [
  !tcp && "C: gcc",
  !erlang && "Erlang: erl",
  !nats && "NATS: nats-server",
  !natsClient && "NATS' makers' client: @nats-io/transport-node (a lean one of ours stands for it)",
].filter(Boolean);
if (absent.length > 0) say(`skipped, since not installed: ${absent.join(", ")}`);

interface Rival {
  peer: string;
  /** Null where it is not installed. */
  measure: (() => Promise<number>) | null;
  goal?: string;
}
interface Work {
  name: string;
  kind: LinkKind;
  unit: string;
  /** Single measurements in a round. */
  n: number;
  measure: (pair: Pair) => Promise<number>;
  /** Before the first round, which is not counted: what it takes until code is compiled as well as it will be. */
  warmUp?: (pair: Pair) => Promise<number>;
  rivals: Rival[];
}

const works: Work[] = (["unix", "tls"] as const).flatMap((kind): Work[] => {
  const isTls = kind === "tls";
  const tls = isTls ? "-tls" : "";
  const path = isTls ? "TCP" : "Unix socket";
  return [
    {
      ...{ name: `remote-call${tls}-p50`, kind, unit: "us", n: 20_000 },
      measure: (pair) => oneByOne(pair, 20_000),
      rivals: [
        {
          peer: "Erlang",
          measure: erlang && (() => erlang.callUs(20_000)),
          goal: isTls ? "<= 1.2" : "<= 1.0",
        },
        { peer: "C over TCP", measure: tcp && (() => tcp.pingPongUs("tcp", 20_000)), goal: "the floor" },
      ],
    },
    {
      ...{ name: `remote-call-256${tls}`, kind, unit: "calls/s", n: 800_000 },
      measure: (pair) => inFlight(pair, 800_000),
      warmUp: (pair) => inFlight(pair, 2_000_000),
      rivals: [
        { peer: "Erlang", measure: erlang && (() => erlang.parallel(callers, 100_000)), goal: ">= 6" },
        { peer: "NATS", measure: nats && (() => nats.parallel(callers, 300_000)), goal: ">= 4" },
        {
          peer: "NATS, its makers' client",
          measure: natsClient && (() => natsClient.parallel(callers, 30_000)),
          goal: ">= 4",
        },
      ],
    },
    {
      ...{ name: `bulk-copy${tls}`, kind, unit: "MB/s", n: bulkBytes / vaultBytes },
      measure: bulk,
      warmUp: async (pair) => {
        for (let i = 0; i < 3; i++) await bulk(pair);
        return bulk(pair);
      },
      rivals: [
        {
          peer: `C over a ${path}`.replace("a TCP", "TCP"),
          measure: tcp && (() => tcp.bulkMBs(isTls ? "tcp" : "unix", bulkBytes)),
          goal: isTls ? "stated" : ">= 0.6",
        },
        ...(isTls
          ? []
          : [{ peer: "C over TCP", measure: tcp && (() => tcp.bulkMBs("tcp", bulkBytes)), goal: "stated" }]),
      ],
    },
  ];
});

/** One call at a time; the median in microseconds. */
async function oneByOne({ client, echo }: Pair, n: number): Promise<number> {
  const times = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const began = performance.now();
    await client.sendrec(echo, { type: 1, body }, timeout);
    times[i] = performance.now() - began;
  }
  return times.toSorted()[n >> 1]! * 1_000;
}

/** So many processes, each of which calls, awaits the answer, and calls again. */
async function inFlight({ linked, echo }: Pair, n: number): Promise<number> {
  const binding = Array.from({ length: callers }, () => linked.kernel.bind({ privileges: toServers }));
  const processes = await Promise.all(binding);
  const each = n / callers;
  const began = performance.now();
  await Promise.all(
    processes.map(async (caller) => {
      for (let i = 0; i < each; i++) {
        const reply = await caller.sendrec(echo, { type: 1, body }, timeout);
        if ((reply.body as Uint8Array).length !== body.length)
          throw new Error("a reply is not what was sent");
      }
    }),
  );
  const seconds = (performance.now() - began) / 1_000;
  for (const caller of processes) caller.unbind();
  return n / seconds;
}

/** Copies into a buffer of the other, one after the other. */
async function bulk({ client, vault, grant }: Pair): Promise<number> {
  const bytes = new Uint8Array(vaultBytes).fill(3);
  const began = performance.now();
  for (let done = 0; done < bulkBytes; done += vaultBytes) {
    await client.write(vault, grant, 0, bytes, timeout);
  }
  return bulkBytes / 1e6 / ((performance.now() - began) / 1_000);
}

async function run({ name, kind, unit, n, measure, warmUp, rivals }: Work): Promise<void> {
  const began = performance.now();
  const ours: number[] = [];
  const theirs = rivals.flatMap((rival) => (rival.measure ? [{ ...rival, values: [] as number[] }] : []));
  const pair = await openPair(kind);
  try {
    await warmUp?.(pair);
    // The first round warms everybody up.
    for (let round = 0; round <= rounds; round++) {
      ours.push(await measure(pair));
      for (const rival of theirs) rival.values.push(await (rival.measure as () => Promise<number>)());
    }
  } finally {
    pair.close();
  }
  const [, ...counted] = ours;
  const seconds = (performance.now() - began) / 1_000;
  const figure = { name, value: median(counted), unit, n, rounds, seconds };
  if (theirs.length === 0) emit(figure);
  for (const { peer, goal, values } of theirs) {
    const [, ...their] = values;
    emit({
      ...{ ...figure, peer, ratio: median(their.map((value, i) => counted[i]! / value)) },
      ...(goal ? { goal } : {}),
      detail: { values: counted.map(Math.round), peer: their.map(Math.round) },
    });
  }
}

try {
  for (const work of works) {
    if (!wants(work.name)) continue;
    try {
      await run(work);
    } catch (e) {
      process.exitCode = 1;
      say(`${work.name} failed: ${(e as Error).stack}`);
    }
  }
} finally {
  for (const peer of [tcp, erlang, natsClient, nats]) peer?.close();
}
process.exit();
