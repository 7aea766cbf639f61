/**
 * The agents that listen: one desired-state stream per node (the newest wins), and the byte streams that an agent
 * sends because somebody asked for them (logs). Nothing here is kept over a restart: agents connect again.
 */
import { randomUUID } from "node:crypto";
import type { Desired, ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { keepAliveMs } from "./ndjson.ts";
import { Mailbox } from "./topic.ts";

const streamOpenTimeoutMs = 5_000;

interface Session {
  id: string;
  mailbox: Mailbox<ToAgent>;
}

export class Sessions {
  #byNode = new Map<string, Session>();
  #streams = new Map<string, { node: string; open(body: ReadableStream<Uint8Array>): void }>();

  /** The messages for a node, from now on; undefined is a keep-alive. Ends when the node connects again. */
  async *listen(
    node: string,
    first: ToAgent | null,
    gone: (node: string) => boolean,
  ): AsyncGenerator<ToAgent | undefined> {
    this.#byNode.get(node)?.mailbox.close();
    // Only the newest Desired matters, whatever else waits is kept.
    const mailbox = new Mailbox<ToAgent>({ key: (m) => (m.type === "logs" ? `logs/${m.id}` : m.type) });
    const session = { id: randomUUID(), mailbox };
    this.#byNode.set(node, session);
    try {
      if (first) yield first;
      yield { type: "ping" };
      for (;;) {
        if (gone(node)) {
          yield { type: "removed" };
          return;
        }
        const message = await mailbox.take(keepAliveMs);
        if (message === null) return;
        yield message ?? { type: "ping" };
      }
    } finally {
      if (this.#byNode.get(node) === session) this.#byNode.delete(node);
    }
  }

  desired(node: string, desired: Desired): void {
    this.#byNode.get(node)?.mailbox.put({ type: "desired", desired });
  }

  removed(node: string): void {
    this.#byNode.get(node)?.mailbox.put({ type: "removed" });
  }

  /** Asks an agent for a container's log. Rejects with UNAVAILABLE where it does not answer. */
  async logs(
    node: string,
    request: { uid: string; tailLines: number; follow: boolean },
  ): Promise<ReadableStream<Uint8Array>> {
    const session = this.#byNode.get(node);
    if (!session) throw new DvsError("UNAVAILABLE", `Cannot read logs: node ${node} is not connected.`);
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#streams.delete(id);
        reject(new DvsError("UNAVAILABLE", `Cannot read logs: node ${node} did not answer within 5 s.`));
      }, streamOpenTimeoutMs);
      this.#streams.set(id, {
        node,
        open: (body) => {
          clearTimeout(timer);
          this.#streams.delete(id);
          resolve(body);
        },
      });
      session.mailbox.put({ type: "logs", id, ...request });
    });
  }

  /** An agent sends the stream that it was asked for. Resolves when all of it was read. */
  async accept(node: string, id: string, body: ReadableStream<Uint8Array>): Promise<void> {
    const wanted = this.#streams.get(id);
    if (wanted?.node !== node) throw new DvsError("NOT_FOUND", `Nobody asked for stream ${id}.`);
    // The request must stay open while its body is read elsewhere.
    await new Promise<void>((resolve) => {
      const reader = body.getReader();
      wanted.open(
        new ReadableStream({
          async pull(controller) {
            try {
              const { value, done } = await reader.read();
              if (value) controller.enqueue(value);
              if (done) {
                controller.close();
                resolve();
              }
            } catch {
              controller.close(); // the node went away: what came is what there is
              resolve();
            }
          },
          cancel() {
            void reader.cancel().catch(() => undefined);
            resolve();
          },
        }),
      );
    });
  }

  close(): void {
    for (const s of this.#byNode.values()) s.mailbox.close();
  }
}
