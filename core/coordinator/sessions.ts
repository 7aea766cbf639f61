/**
 * The agents that listen: one desired-state stream per node (the newest wins), and the byte streams that an agent
 * sends because somebody asked for them (logs). Nothing here is kept over a restart: agents connect again.
 */
import { randomUUID } from "node:crypto";
import type { Desired, KernelQuery, LogName, ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import type { RecordBatch } from "../kernel/record-schema.ts";
import type { FilesAsk } from "../files/remote/ask.ts";
import type { KvAsk } from "../state/kv-ask.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import { Mailbox } from "./mailbox.ts";
import { keepAliveMs, type LineSource } from "./ndjson.ts";

const streamOpenTimeoutMs = 5_000;
/** Another node is asked then: what both carry out is carried out once. */
const kvOpenTimeoutMs = 1_000;
/** From the moment at which a node fetches a backup to its word that every replica has it. */
const restoreTimeoutMs = 15 * 60_000;
/** Of each kind of message only the newest waits, so these are requests for logs, and instances with new records. */
const messagesMax = 4_000;

/** There are records of an instance's kernels for the node: read when it is their turn, not before. */
interface News {
  type: "news";
  uid: string;
}

type RecordsAfter = (uid: string, index: number) => Promise<RecordBatch>;

interface Session {
  mailbox: Mailbox<ToAgent | News>;
  /** Uid → index of the last record that was sent in this stream. */
  sent: Map<string, number>;
  /** What was asked for and not answered yet: that there is nothing is an answer, too. */
  asked: Set<string>;
}

interface StreamOptions {
  /** The agent is at work on it: from then on it has more time. */
  begun?: Promise<void>;
  openMs?: number;
}

interface WantedStream {
  node: string;
  open(body: ReadableStream<Uint8Array>): void;
}

interface Upload {
  node: string;
  body: ReadableStream<Uint8Array>;
  fetched(): void;
}

export class Sessions {
  readonly #byNode = new Map<string, Session>();
  readonly #wanted = new Map<string, WantedStream>();
  readonly #uploads = new Map<string, Upload>();

  /**
   * The messages for a node, complete from this very call on. Ends when the node connects again, and after `removed`.
   * `first` is what it is told at once, when there is something; `recordsAfter` gives records that it follows.
   */
  listen(
    node: string,
    first: Desired | null,
    recordsAfter: RecordsAfter = () => Promise.resolve({ snapshot: null, records: [] }),
  ): LineSource {
    this.#byNode.get(node)?.mailbox.close();
    const mailbox = new Mailbox<ToAgent | News>({ key: keyOf, max: messagesMax });
    const session: Session = { mailbox, sent: new Map(), asked: new Set() };
    this.#byNode.set(node, session);
    if (first) mailbox.put({ type: "desired", desired: first });
    async function* lines(): AsyncGenerator<ToAgent> {
      // At once, so that the agent knows that somebody is there.
      if (!first) yield { type: "ping" };
      for (;;) {
        const message = await mailbox.take(keepAliveMs);
        if (message === null) return;
        if (message?.type === "news") {
          const records = await recordsOf(session, message.uid, recordsAfter);
          if (records) yield records;
          continue;
        }
        yield message ?? { type: "ping" };
        if (message?.type === "removed") return;
      }
    }
    const stop = () => {
      mailbox.close();
      if (this.#byNode.get(node) === session) this.#byNode.delete(node);
    };
    return { lines: lines(), stop };
  }

  /** From now on the node's stream carries the records of the instance after `index`. Throws UNAVAILABLE without one. */
  sendRecords(node: string, uid: string, index: number): void {
    const session = this.#byNode.get(node);
    if (!session) throw new DvsError("UNAVAILABLE", `Node ${node} has no stream that records could go to.`);
    session.sent.set(uid, index);
    session.asked.add(uid);
    session.mailbox.put({ type: "news", uid });
  }

  /** There are new records of an instance. */
  news(node: string, uid: string): void {
    const session = this.#byNode.get(node);
    if (session?.sent.has(uid)) session.mailbox.put({ type: "news", uid });
  }

  desired(node: string, desired: Desired): void {
    this.#byNode.get(node)?.mailbox.put({ type: "desired", desired });
  }

  /** Who keeps the OS state of an instance that the node has a part in. */
  replicas(node: string, uid: string, replicas: ReplicaSet): void {
    this.#byNode.get(node)?.mailbox.put({ type: "replicas", uid, replicas });
  }

  removed(node: string): void {
    this.#byNode.get(node)?.mailbox.put({ type: "removed" });
  }

  /** Asks an agent for a container's log. Rejects with UNAVAILABLE where it does not answer. */
  logs(
    node: string,
    request: { uid: string; file?: LogName; tailLines: number; follow: boolean },
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    return this.#stream(node, (id) => ({ type: "logs", id, ...request }), signal);
  }

  /** Asks an agent for what a container's kernel tells of itself. Rejects with UNAVAILABLE where it does not answer. */
  kernelStream(
    node: string,
    request: KernelQuery & { uid: string },
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    return this.#stream(node, (id) => ({ type: "kernelStream", id, ...request }), signal);
  }

  /** Asks an agent for an answer of an instance's key-value. Rejects with UNAVAILABLE where it does not answer. */
  kvStream(
    node: string,
    request: { uid: string; ask: KvAsk },
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const options = { openMs: kvOpenTimeoutMs };
    return this.#stream(node, (id) => ({ type: "kvStream", id, ...request }), signal, options);
  }

  /**
   * Asks an agent for an answer of an instance's file system; `body` is what a `put` brings, and is not touched where
   * this rejects with UNAVAILABLE.
   */
  filesStream(
    node: string,
    request: { uid: string; ask: FilesAsk },
    signal: AbortSignal,
    body?: ReadableStream<Uint8Array>,
  ): Promise<ReadableStream<Uint8Array>> {
    let id = "";
    const message = (of: string): ToAgent => {
      id = of;
      if (body) this.#uploads.set(id, { node, body, fetched: () => undefined });
      return { type: "filesStream", id, ...request };
    };
    const options = { openMs: kvOpenTimeoutMs };
    const stream = this.#stream(node, message, signal, options);
    // What nobody has fetched by then is another's to fetch.
    stream.catch(() => this.#uploads.delete(id));
    return stream;
  }

  /** Asks an agent for a backup of an instance's OS state. Rejects with UNAVAILABLE where it does not answer. */
  backup(node: string, uid: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    return this.#stream(node, (id) => ({ type: "backup", id, uid }), signal);
  }

  /**
   * Lets an agent fetch a backup, and resolves with what it says of it. Rejects with UNAVAILABLE where it does not
   * come for it, OUTCOME_UNKNOWN where it says nothing.
   */
  restore(
    node: string,
    uid: string,
    body: ReadableStream<Uint8Array>,
    signal: AbortSignal,
  ): Promise<ReadableStream<Uint8Array>> {
    const fetched = Promise.withResolvers<void>();
    let id = "";
    const message = (of: string): ToAgent => {
      id = of;
      this.#uploads.set(id, { node, body, fetched: () => fetched.resolve() });
      return { type: "restore", id, uid };
    };
    return this.#stream(node, message, signal, { begun: fetched.promise }).finally(() =>
      this.#uploads.delete(id),
    );
  }

  /** The bytes that an agent was told to fetch, once. Throws NOT_FOUND when there are none for it. */
  upload(node: string, id: string): ReadableStream<Uint8Array> {
    const upload = this.#uploads.get(id);
    if (upload?.node !== node) throw new DvsError("NOT_FOUND", `There is nothing to fetch as ${id}.`);
    this.#uploads.delete(id);
    upload.fetched();
    return upload.body;
  }

  async #stream(
    node: string,
    message: (id: string) => ToAgent,
    signal: AbortSignal,
    { begun, openMs = streamOpenTimeoutMs }: StreamOptions = {},
  ): Promise<ReadableStream<Uint8Array>> {
    signal.throwIfAborted();
    const session = this.#byNode.get(node);
    if (!session) throw new DvsError("UNAVAILABLE", "The node is not connected.");
    const id = randomUUID();
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        this.#wanted.delete(id);
        act();
      };
      const onAbort = () => settle(() => reject(signal.reason as Error));
      const late = new DvsError("UNAVAILABLE", `The node did not answer within ${openMs / 1000} s.`);
      let timer = setTimeout(() => settle(() => reject(late)), openMs);
      void begun?.then(() => {
        if (!this.#wanted.has(id)) return;
        clearTimeout(timer);
        const minutes = restoreTimeoutMs / 60_000;
        const silent = new DvsError(
          "OUTCOME_UNKNOWN",
          `The node has said nothing for ${minutes} minutes; it may or may not be done. Look before you repeat it.`,
        );
        timer = setTimeout(() => settle(() => reject(silent)), restoreTimeoutMs);
      });
      signal.addEventListener("abort", onAbort);
      this.#wanted.set(id, { node, open: (body) => settle(() => resolve(body)) });
      session.mailbox.put(message(id));
    });
  }

  /**
   * An agent sends the stream that it was asked for. Resolves when its reader has read all of it or wants no more.
   * Rejects with NOT_FOUND when nobody waits for it, or no longer.
   */
  async accept(node: string, id: string, body: ReadableStream<Uint8Array>): Promise<void> {
    const wanted = this.#wanted.get(id);
    if (wanted?.node !== node) throw new DvsError("NOT_FOUND", `Nobody waits for stream ${id}.`);
    const reader = body.getReader();
    // The request stays open while its body is read elsewhere.
    await new Promise<void>((resolve) => {
      wanted.open(
        new ReadableStream<Uint8Array>({
          async pull(controller) {
            try {
              const { value, done } = await reader.read();
              if (!done) return controller.enqueue(value);
              controller.close();
            } catch (cause) {
              controller.error(
                new DvsError("UNAVAILABLE", "The connection to the node broke: its log ends here.", {
                  cause,
                }),
              );
            }
            resolve();
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
    for (const { mailbox } of this.#byNode.values()) mailbox.close();
  }
}

/** The next records of an instance that the node follows; null when it has them all, or the instance is gone. */
async function recordsOf(
  { mailbox, sent, asked }: Session,
  uid: string,
  recordsAfter: RecordsAfter,
): Promise<Extract<ToAgent, { type: "records" }> | null> {
  const after = sent.get(uid)!;
  let batch: RecordBatch;
  try {
    batch = await recordsAfter(uid, after);
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "NOT_FOUND") throw e;
    sent.delete(uid);
    return null;
  }
  // The agent has asked for others meanwhile: they come next.
  if (sent.get(uid) !== after) return null;
  const last = batch.records.at(-1)?.index ?? batch.snapshot?.index ?? after;
  if (last === after && !asked.has(uid)) return null;
  asked.delete(uid);
  sent.set(uid, last);
  if (batch.records.length > 0) mailbox.put({ type: "news", uid });
  return { type: "records", uid, ...batch };
}

function keyOf(message: ToAgent | News): string {
  if (message.type === "news") return `news/${message.uid}`;
  if (message.type === "replicas") return `replicas/${message.uid}`;
  return "id" in message ? `stream/${message.id}` : message.type;
}
