/**
 * The key-value of an instance for whoever asks through the HTTP API: each question makes this agent a client of the
 * OS state for as long as the answer takes, under the name that the question brings.
 */
import { randomUUID } from "node:crypto";
import type { ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { KeyValue } from "../state/client/key-value.ts";
import { StateClient } from "../state/client/state-client.ts";
import { answerKv } from "../state/answer-kv.ts";
import type { ReplicaAddress } from "../state/replica-set.ts";
import type { LinkIdentity } from "../state/link/listen.ts";
import { toDvsError } from "../store/errors.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";

export interface KvStreamsOptions {
  coordinator: Pick<CoordinatorLink, "sendStream">;
  /** How this node reaches the replicas of an instance; null where it has nothing of it. */
  reach: (uid: string) => Promise<Reached | null>;
  signal: AbortSignal;
}

export interface Reached {
  identity: Omit<LinkIdentity, "incarnation">;
  replicas: ReplicaAddress[];
}

const encoder = new TextEncoder();

export class KvStreams {
  readonly #options: KvStreamsOptions;
  constructor(options: KvStreamsOptions) {
    this.#options = options;
  }

  /** Never rejects: what goes wrong is the last line, as an ErrorBody. */
  async send({ id, uid, ask }: Extract<ToAgent, { type: "kvStream" }>): Promise<void> {
    const { coordinator, signal, reach } = this.#options;
    const stopped = new AbortController();
    const stop = AbortSignal.any([signal, stopped.signal]);
    const reached = await reach(uid).catch(() => null);
    // Under the name that the question brings, so that one that is asked again is carried out once.
    const name = "client" in ask ? ask.client : randomUUID();
    const client = reached && clientOf(reached, `once-${name}`);
    async function* lines(): AsyncGenerator<Uint8Array> {
      try {
        if (!client) throw new DvsError("UNAVAILABLE", "This node has no replica of the instance.");
        for await (const line of answerKv(new KeyValue(client), ask, stop)) yield lineOf(line);
      } catch (e) {
        yield lineOf(toDvsError(e).toBody());
      }
    }
    const source = lines();
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { value, done } = await source.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: () => stopped.abort(),
      },
      { highWaterMark: 0 },
    );
    try {
      await coordinator.sendStream(id, body, stop);
    } catch {
      // Whoever asked for it has gone, or the coordinator has.
    } finally {
      stopped.abort();
      client?.close();
    }
  }
}

function clientOf({ identity, replicas }: Reached, name: string): StateClient {
  const client = new StateClient({ identity: { ...identity, incarnation: name } });
  client.setReplicas(replicas);
  return client;
}

function lineOf(value: object): Uint8Array {
  return encoder.encode(`${JSON.stringify(value)}\n`);
}
