/**
 * The key-value of an instance for whoever asks through the HTTP API: each question makes this agent a client of the
 * OS state for as long as the answer takes, under the name that the question brings.
 */
import { randomUUID } from "node:crypto";
import type { ToAgent } from "../agent-protocol.ts";
import { KeyValue } from "../state/client/key-value.ts";
import { answerKv } from "../state/answer-kv.ts";
import { toDvsError } from "../store/errors.ts";
import { lineOf, sendAnswer } from "./answer-stream.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { clientOf, notReached, type Reach } from "./reached.ts";

export interface KvStreamsOptions {
  coordinator: Pick<CoordinatorLink, "sendStream">;
  reach: Reach;
  signal: AbortSignal;
}

export class KvStreams {
  readonly #options: KvStreamsOptions;
  constructor(options: KvStreamsOptions) {
    this.#options = options;
  }

  /** Never rejects: what goes wrong is the last line, as an ErrorBody. */
  async send({ id, uid, ask }: Extract<ToAgent, { type: "kvStream" }>): Promise<void> {
    const { coordinator, signal, reach } = this.#options;
    const reached = await reach(uid).catch(() => null);
    // Under the name that the question brings, so that one that is asked again is carried out once.
    const name = "client" in ask ? ask.client : randomUUID();
    const client = reached && clientOf(reached, `once-${name}`);
    async function* lines(stop: AbortSignal): AsyncGenerator<Uint8Array> {
      try {
        if (!client) throw notReached();
        for await (const line of answerKv(new KeyValue(client), ask, stop)) yield lineOf(line);
      } catch (e) {
        yield lineOf(toDvsError(e).toBody());
      }
    }
    await sendAnswer(coordinator, id, lines, signal);
    client?.close();
  }
}
