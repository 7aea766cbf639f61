import { afterEach, expect, test } from "bun:test";
import * as bun from "../../../core/platform/bun/tcp.ts";
import * as node from "../../../core/platform/node-tcp.ts";
import type { Stream, StreamFailure, StreamListener, StreamUser } from "../../../core/platform/tcp.ts";

const open: { stop(): void }[] = [];
afterEach(() => {
  for (const it of open.splice(0)) it.stop();
});

/** A user that writes down what happens. */
class Recorder implements StreamUser {
  stream!: Stream;
  readonly log: string[] = [];
  bytes = 0;
  failure: StreamFailure | null | undefined;
  closed = Promise.withResolvers<StreamFailure | null>();
  ended = Promise.withResolvers<void>();
  opened = Promise.withResolvers<void>();
  drained = Promise.withResolvers<void>();
  onOpen(): void {
    this.log.push("open");
    this.opened.resolve();
  }
  onData(chunk: Buffer): void {
    this.bytes += chunk.length;
  }
  onDrain(): void {
    this.log.push("drain");
    this.drained.resolve();
  }
  onEnd(): void {
    this.log.push("end");
    this.ended.resolve();
  }
  onClose(failure: StreamFailure | null): void {
    this.log.push("close");
    this.closed.resolve(failure);
  }
}

for (const [name, api] of [
  ["Bun's sockets", bun],
  ["node:net", node],
] as const) {
  /** Both ends of a connection. */
  async function pair(): Promise<[Recorder, Recorder, StreamListener]> {
    const server = new Recorder();
    const accepted = Promise.withResolvers<void>();
    const listener = await api.listen({ host: "127.0.0.1", port: 0 }, (stream) => {
      server.stream = stream;
      accepted.resolve();
      return server;
    });
    open.push(listener);
    const client = new Recorder();
    client.stream = api.connect({ address: { host: "127.0.0.1", port: listener.port }, tls: null }, client);
    await Promise.all([client.opened.promise, accepted.promise]);
    return [client, server, listener];
  }

  test(`${name}: the end of one direction leaves the other`, async () => {
    const [client, server] = await pair();
    client.stream.end();
    await server.ended.promise;
    const bytes = Buffer.from("answer");
    server.stream.write(bytes, 0, bytes.length);
    server.stream.end();
    expect(await client.closed.promise).toBeNull();
    expect(client.bytes).toBe(6);
    expect(await server.closed.promise).toBeNull();
    expect(server.log).toEqual(["end", "close"]);
  });

  test(`${name}: what the kernel does not take is queued, copied, and told of`, async () => {
    const [client, server] = await pair();
    server.stream.pause();
    const chunk = Buffer.alloc(1 << 20, 1);
    let total = 0;
    while (client.stream.write(chunk, 0, chunk.length)) total += chunk.length;
    total += chunk.length;
    chunk.fill(0);
    expect(client.stream.queued).toBeGreaterThan(0);
    expect(client.log).not.toContain("drain");
    server.stream.resume();
    await client.drained.promise;
    expect(client.stream.queued).toBe(0);
    // close() sends first what is queued.
    client.stream.write(Buffer.alloc(8 << 20), 0, 8 << 20);
    total += 8 << 20;
    client.stream.close();
    await server.ended.promise;
    expect(server.bytes).toBe(total);
  });

  test(`${name}: a stream that is destroyed looks broken to its peer`, async () => {
    const [client, server] = await pair();
    client.stream.destroy();
    expect((await server.closed.promise)?.code).toBe("ECONNRESET");
    await client.closed.promise;
    expect(client.stream.write(Buffer.from("x"), 0, 1)).toBe(true);
  });

  test(`${name}: a refused connection, one that was given up, and an address that cannot be`, async () => {
    const [, , listener] = await pair();
    const { port } = listener;
    listener.stop();
    const refused = new Recorder();
    api.connect({ address: { host: "127.0.0.1", port }, tls: null }, refused);
    expect((await refused.closed.promise)?.code).toBe("ECONNREFUSED");
    const missing = new Recorder();
    api.connect({ address: { socket: `/tmp/${"x".repeat(200)}/http.sock` }, tls: null }, missing);
    expect(await missing.closed.promise).not.toBeNull();
    const givenUp = new Recorder();
    api.connect({ address: { host: "127.0.0.1", port }, tls: null }, givenUp).destroy();
    await givenUp.closed.promise;
    expect(givenUp.log).toEqual(["close"]);
  });

  test(`${name}: a port is opened once; stopping the listener leaves its streams`, async () => {
    const [client, server, listener] = await pair();
    const again = api.listen({ host: "127.0.0.1", port: listener.port }, () => null);
    expect(((await again.catch((e: unknown) => e)) as NodeJS.ErrnoException).code).toBe("EADDRINUSE");
    listener.stop();
    client.stream.write(Buffer.from("x"), 0, 1);
    client.stream.end();
    await server.ended.promise;
    expect(server.bytes).toBe(1);
    server.stream.close();
    await client.closed.promise;
  });
}
