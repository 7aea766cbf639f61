/**
 * The file system of an instance for whoever asks through the HTTP API: each question makes this agent a client of the
 * OS state for as long as the answer takes. Bytes go as fast as whoever is slower takes or gives them.
 */
import { randomUUID } from "node:crypto";
import type { ToAgent } from "../agent-protocol.ts";
import { VolumeClient } from "../files/client/volume-client.ts";
import { answerFiles } from "../files/remote/answer.ts";
import type { FilesAsk, GiveFrame } from "../files/remote/ask.ts";
import { encodeFrame } from "../files/remote/frames.ts";
import { giveFiles } from "../files/remote/give.ts";
import { putFiles } from "../files/remote/put.ts";
import type { StateClient } from "../state/client/state-client.ts";
import { toDvsError } from "../store/errors.ts";
import { lineOf, sendAnswer } from "./answer-stream.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { clientOf, notReached, type Reach, type Reached } from "./reached.ts";

export interface FilesStreamsOptions {
  coordinator: Pick<CoordinatorLink, "sendStream" | "fetchStream">;
  reach: Reach;
  signal: AbortSignal;
}

type Asked = Extract<ToAgent, { type: "filesStream" }>;

export class FilesStreams {
  readonly #options: FilesStreamsOptions;
  constructor(options: FilesStreamsOptions) {
    this.#options = options;
  }

  /** Never rejects: what goes wrong is the last line, as an ErrorBody. */
  async send({ id, uid, ask }: Asked): Promise<void> {
    const { coordinator, signal, reach } = this.#options;
    const reached = await reach(uid).catch(() => null);
    const clients = reached && new Clients(reached);
    await sendAnswer(coordinator, id, (stop) => this.#answer(id, ask, clients, stop), signal);
    await clients?.close();
  }

  async *#answer(
    id: string,
    ask: FilesAsk,
    clients: Clients | null,
    stop: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      if (!clients) throw notReached();
      if (ask.what === "give") yield* giveFiles(clients.open(), ask.paths, ask.offset);
      else if (ask.what === "put") {
        const frames = await this.#options.coordinator.fetchStream(id, stop);
        for await (const line of putFiles(clients.open(), frames)) yield lineOf(line);
      } else {
        const fs = clients.open();
        const once = "client" in ask ? clients.open(ask.client) : fs;
        yield lineOf(await answerFiles({ fs, once }, ask));
      }
    } catch (e) {
      const error = toDvsError(e);
      const { code, message } = error;
      if (ask.what !== "give") yield lineOf(error.toBody());
      else yield encodeFrame({ op: "broken", failure: { code, message } } satisfies GiveFrame);
    }
  }
}

/** Of one question. */
class Clients {
  readonly #reached: Reached;
  readonly #open: { volume: VolumeClient; state: StateClient }[] = [];

  constructor(reached: Reached) {
    this.#reached = reached;
  }

  /** `name`: what is asked again under it is carried out once. */
  open(name?: string): VolumeClient {
    const client = `once-${name ?? randomUUID()}`;
    const state = clientOf(this.#reached, client);
    const volume = VolumeClient.open({ state, client, once: name !== undefined });
    this.#open.push({ volume, state });
    return volume;
  }

  async close(): Promise<void> {
    for (const { volume, state } of this.#open) {
      await volume.close().catch(() => undefined);
      state.close();
    }
  }
}
