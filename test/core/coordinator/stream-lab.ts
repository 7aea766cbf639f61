/** What streams of lines owe over real servers, on either runtime: facts by name, for bun:test and for Deno. */
import { connect as connectTcp, createServer, type AddressInfo } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { ndjson, type LineSource } from "../../../core/coordinator/ndjson.ts";
import { serveHttp } from "../../../core/platform/http.ts";
import { serveMutualTls } from "../../../core/transport/agent-server.ts";
import { createClient } from "../../../core/transport/client.ts";
import { peerOf } from "../../../core/transport/peer.ts";
import { coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import type { TlsIdentity } from "../../../core/transport/dial.ts";
import { authority, issued } from "../trust/lab.ts";

const never = new AbortController().signal;

/** A source that counts what is asked of it; it yields without end, or waits after `count` lines. */
function counted(count: number, bytes: number) {
  const state = { yielded: 0, stopped: Promise.withResolvers<void>() };
  const wake = Promise.withResolvers<void>();
  async function* lines() {
    while (state.yielded < count) {
      state.yielded++;
      yield "x".repeat(bytes);
    }
    await wake.promise;
  }
  const stop = () => {
    wake.resolve();
    state.stopped.resolve();
  };
  const source: LineSource = { lines: lines(), stop };
  return Object.assign(state, { source });
}

async function servers(source: () => LineSource) {
  const ca = await authority();
  const coordinator = await issued(ca, coordinatorUri("c1", "k1"));
  const node = await issued(ca, nodeUri("c1", "n1"));
  const fetch = () => ndjson(source(), never);
  const api = await serveHttp({ listen: { host: "127.0.0.1", port: 0 }, tls: coordinator, fetch });
  const agents = await serveMutualTls({
    host: "127.0.0.1",
    port: 0,
    ...coordinator,
    ca: ca.certificate,
    check: peerOf(["node"]),
    fetch,
  });
  return {
    ports: [api.port, agents.port],
    ca: ca.certificate,
    node,
    close: () => Promise.all([api.stop(0), agents.close()]),
  };
}

/**
 * A client whose network takes 200 kB and no more. That the client itself does not read would not do: a paused TLS
 * socket of Deno takes all that comes.
 */
async function connectDeaf(port: number, trust: { ca: string; node: TlsIdentity }): Promise<TLSSocket> {
  const network = createServer((near) => {
    const far = connectTcp(port, "127.0.0.1");
    let passed = 0;
    near.on("data", (bytes: Uint8Array) => far.write(bytes));
    far.on("data", (bytes: Uint8Array) => {
      near.write(bytes);
      passed += bytes.length;
      if (passed > 200_000) far.pause();
    });
    for (const socket of [near, far]) socket.on("error", () => undefined);
    near.on("close", () => far.destroy());
    far.on("close", () => near.destroy());
  });
  await new Promise<void>((resolve) => {
    network.listen(0, "127.0.0.1", () => resolve());
  });
  const socket = connect({
    host: "127.0.0.1",
    port: (network.address() as AddressInfo).port,
    ca: trust.ca,
    cert: trust.node.certificate,
    key: trust.node.key,
    checkServerIdentity: () => undefined,
  });
  socket.on("data", () => undefined);
  socket.on("close", () => network.close());
  return new Promise((resolve, reject) => {
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", reject);
  });
}

export const streamFacts: Record<string, () => Promise<void>> = {
  async "a client that leaves ends the source, though the source is silent"() {
    const sources: ReturnType<typeof counted>[] = [];
    const s = await servers(() => {
      sources.push(counted(1, 1));
      return sources.at(-1)!.source;
    });
    for (const port of s.ports) {
      const client = createClient({
        addresses: [`127.0.0.1:${port}`],
        trust: { ca: s.ca },
        identity: s.node,
      });
      const response = await client.request({ method: "GET", path: "/" });
      const reader = response.body!.getReader();
      await reader.read();
      await reader.cancel();
      await sources.at(-1)!.stopped.promise;
      client.close();
    }
    await s.close();
  },

  async "a client that does not read holds back the source: memory is bounded"() {
    const sources: ReturnType<typeof counted>[] = [];
    const s = await servers(() => {
      sources.push(counted(Number.POSITIVE_INFINITY, 65_536));
      return sources.at(-1)!.source;
    });
    for (const port of s.ports) {
      const socket = await connectDeaf(port, s);
      socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      let before = -1;
      let still = 0;
      while (still < 5) {
        const { yielded } = sources.at(-1) ?? { yielded: -1 };
        still = yielded === before && yielded > 0 ? still + 1 : 0;
        before = yielded;
        // 64 MiB: far above what sockets and streams hold, far below what a source without end would make.
        if (before > 1_024)
          throw new Error(`${before} lines of 64 KiB were taken for a client that reads none`);
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      socket.destroy();
      await sources.at(-1)!.stopped.promise;
    }
    await s.close();
  },
};
