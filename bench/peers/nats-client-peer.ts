/**
 * Request and reply over NATS as its users have it: with the client of its makers, where that is installed (`npm install
 * --no-save @nats-io/transport-node`; it is no dependency of ours). Both halves, as nats-peer.ts.
 */
import { type ChildProcess, spawn } from "node:child_process";

/** As much of the package as is used here. */
interface NatsClient {
  request(subject: string, data: Uint8Array, options: { timeout: number }): Promise<{ data: Uint8Array }>;
  subscribe(
    subject: string,
    options: { callback: (error: unknown, message: NatsMessage) => void },
  ): { closed: Promise<unknown> };
  flush(): Promise<void>;
  close(): Promise<void>;
}
interface NatsMessage {
  data: Uint8Array;
  respond(data: Uint8Array): boolean;
}

const subject = "echo-client";
const payload = new Uint8Array(64).fill(7);

export interface NatsClientPeer {
  /** Requests a second of so many callers. */
  parallel(callers: number, n: number): Promise<number>;
  close(): void;
}

/** Null without the package. `port` is the server's. */
export async function openNatsClientPeer(port: number): Promise<NatsClientPeer | null> {
  const client = await connect(port);
  if (!client) return null;
  const responder: ChildProcess = spawn(
    process.execPath,
    ["--no-install", import.meta.filename, "respond", String(port)],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  await new Promise((resolve) => responder.stdout!.once("data", resolve));
  return {
    async parallel(callers, n) {
      const each = Math.floor(n / callers);
      const caller = async () => {
        for (let i = 0; i < each; i++) await client.request(subject, payload, { timeout: 5_000 });
      };
      const began = performance.now();
      await Promise.all(Array.from({ length: callers }, caller));
      return (each * callers) / ((performance.now() - began) / 1_000);
    },
    close() {
      responder.kill("SIGKILL");
      void client.close();
    },
  };
}

async function connect(port: number): Promise<NatsClient | null> {
  // Not a literal: the type checker must not look for what is not there.
  const name = "@nats-io/transport-node";
  try {
    const { connect } = (await import(name)) as {
      connect: (options: { servers: string }) => Promise<NatsClient>;
    };
    return await connect({ servers: `127.0.0.1:${port}` });
  } catch (e) {
    if (/cannot find (package|module)/i.test((e as Error).message)) return null;
    throw e;
  }
}

if (process.argv[2] === "respond" && import.meta.main) {
  const client = (await connect(Number(process.argv[3])))!;
  client.subscribe(subject, { callback: (_error, message) => void message.respond(message.data) });
  await client.flush();
  console.log("ready");
  process.stdin.on("close", () => process.exit(0));
  process.stdin.resume();
}
