/**
 * Between the kernels in this node's containers and the order of their instances' records, which the coordinator
 * keeps. Records come once for each instance, in the stream of messages to the agent, however many of its containers
 * are here; proposals go as requests of their own. Away from the coordinator nothing comes, and containers wait.
 *
 * The relay also gives exit certificates: a container's process that was reaped, or whose (pid, start time) has gone
 * from /proc, is told to the coordinator, which removes its kernel. They wait for a coordinator that answers. The
 * coordinator looks up the kernel itself: the certificate names node, container and incarnation only.
 */
import type { ToAgent } from "../agent-protocol.ts";
import type { FromContainer, ToContainer } from "../container/control.ts";
import { DvsError } from "../errors.ts";
import { RecordHistory } from "../kernel/record-history.ts";
import {
  agentRequestTimeoutMs,
  reconnectMaxMs,
  reconnectMinMs,
  recordsKept,
  recordsPerAck,
  recordsPerBatch,
} from "../limits.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { limited, pause } from "./limited.ts";
import type { Log } from "./supervisor.ts";

export interface KernelRelayOptions {
  coordinator: Pick<CoordinatorLink, "proposeRecord" | "followRecords" | "containerExited">;
  log: Log;
  signal: AbortSignal;
}

export type FromKernel = Extract<FromContainer, { type: "kernelFollow" | "kernelRead" | "kernelPropose" }>;
type Send = (message: ToContainer) => void;

/** A container that follows. */
interface Reader {
  /** Null while it has no link: it says where it is when it has one again. */
  send: Send | null;
  /** What it asked for has been answered, if only with nothing. */
  answered: boolean;
  sent: number;
  read: number;
  proposals: Set<Promise<void>>;
}

interface Followed {
  /** Null until the first records have come. */
  history: RecordHistory | null;
  /** Of the store that ordered them: once it was restored what was read before is void. */
  generation: number;
  readers: Map<string, Reader>;
  /** What the coordinator was told to have been read. */
  acked: number;
  asking: boolean;
  /** To be asked for again: on another stream, or because it failed. */
  wanted: boolean;
  /** What was last said in the log of why nothing comes. */
  complaint: string;
}

export class KernelRelay {
  readonly #options: KernelRelayOptions;
  readonly #followed = new Map<string, Followed>();

  constructor(options: KernelRelayOptions) {
    this.#options = options;
  }

  receive(uid: string, incarnation: string, message: FromKernel, send: Send): void {
    switch (message.type) {
      case "kernelFollow":
        return this.#follow(uid, incarnation, message, send);
      case "kernelRead":
        return this.#read(uid, incarnation, message.index);
      case "kernelPropose": {
        const reader = this.#followed.get(uid)?.readers.get(incarnation);
        const proposal = this.#propose(uid, message, send);
        reader?.proposals.add(proposal);
        void proposal.then(() => reader?.proposals.delete(proposal));
      }
    }
  }

  unlinked(uid: string, incarnation: string): void {
    const reader = this.#followed.get(uid)?.readers.get(incarnation);
    if (reader) reader.send = null;
  }

  /** The container's process is surely dead. One that never followed has no kernel. */
  exited(uid: string, incarnation: string): void {
    const followed = this.#followed.get(uid);
    const reader = followed?.readers.get(incarnation);
    if (!followed || !reader) return;
    followed.readers.delete(incarnation);
    // A join of it that is under way comes first.
    void Promise.all(reader.proposals).then(() => this.#certify(uid, incarnation));
  }

  /** A container of an earlier agent whose process is gone: it may have had a kernel. */
  found(uid: string, incarnation: string): void {
    void this.#certify(uid, incarnation);
  }

  /** Instances that are not wanted here any more are forgotten with the last of their containers. */
  setWanted(uids: ReadonlySet<string>): void {
    for (const [uid, { readers }] of this.#followed) {
      if (readers.size === 0 && !uids.has(uid)) this.#followed.delete(uid);
    }
  }

  /** The coordinator's stream is a new one, to which it has to be told again what is wanted. */
  reconnected(): void {
    for (const [uid, followed] of this.#followed) this.#ask(uid, followed);
  }

  /** Records have come. */
  take({ uid, snapshot, records, generation = 1 }: Extract<ToAgent, { type: "records" }>): void {
    const followed = this.#followed.get(uid);
    if (!followed) return;
    if (followed.history && generation !== followed.generation) this.#beginAnew(uid, followed, generation);
    followed.generation = generation;
    if (snapshot && snapshot.index > (followed.history?.view.index ?? -1)) {
      followed.history = new RecordHistory(snapshot);
    }
    followed.history ??= new RecordHistory();
    for (const record of records) followed.history.append(record);
    for (const reader of followed.readers.values()) push(reader, followed);
    this.#fold(followed);
  }

  /** Kernels find out by the generation of what they get, and end: the View that they go by is no more. */
  #beginAnew(uid: string, followed: Followed, generation: number): void {
    this.#options.log(
      "warn",
      `the store was restored (generation ${generation} after ${followed.generation}): kernels of instance ${uid} begin anew`,
    );
    followed.history = null;
    followed.acked = 0;
    for (const reader of followed.readers.values())
      Object.assign(reader, { sent: 0, read: 0, answered: false });
  }

  #follow(
    uid: string,
    incarnation: string,
    { after, generation }: Extract<FromKernel, { type: "kernelFollow" }>,
    send: Send,
  ): void {
    let followed = this.#followed.get(uid);
    if (!followed) {
      const none = { history: null, generation: generation ?? 1, readers: new Map(), complaint: "" };
      followed = { ...none, acked: 0, asking: false, wanted: false };
      this.#followed.set(uid, followed);
      this.#ask(uid, followed);
    }
    const proposals = followed.readers.get(incarnation)?.proposals ?? new Set();
    // Of another generation it gets all that there is, and sees by that what has happened.
    const from = followed.history && (generation ?? 1) !== followed.generation ? 0 : after;
    const reader: Reader = { send, answered: false, sent: from, read: from, proposals };
    followed.readers.set(incarnation, reader);
    if (followed.history) push(reader, followed);
  }

  #read(uid: string, incarnation: string, index: number): void {
    const followed = this.#followed.get(uid);
    const reader = followed?.readers.get(incarnation);
    if (!followed || !reader) return;
    reader.read = Math.max(reader.read, index);
    this.#fold(followed);
    const { history } = followed;
    // Indices are revisions of the whole store: what counts is how many records of this instance lie between.
    if (
      history &&
      history.countUpTo(readByAll(followed)) - history.countUpTo(followed.acked) >= recordsPerAck
    )
      void this.#ack(uid, followed);
  }

  #fold(followed: Followed): void {
    const { history } = followed;
    if (history && history.length > recordsKept) history.fold(Math.min(readByAll(followed), followed.acked));
  }

  async #ack(uid: string, followed: Followed): Promise<void> {
    const read = readByAll(followed);
    const before = followed.acked;
    followed.acked = read;
    try {
      const { generation } = followed;
      await this.#request((s) => this.#options.coordinator.followRecords(uid, { read, generation }, s));
    } catch {
      // It is told at the next occasion.
      followed.acked = Math.min(before, followed.acked);
    }
  }

  /** Asks until the coordinator has taken it, or nobody here wants it. Records then come by themselves. */
  #ask(uid: string, followed: Followed): void {
    followed.wanted = true;
    if (!followed.asking) void this.#askUntilDone(uid, followed);
  }

  async #askUntilDone(uid: string, followed: Followed): Promise<void> {
    const { coordinator, signal } = this.#options;
    followed.asking = true;
    let backoffMs = reconnectMinMs;
    while (followed.wanted && this.#followed.get(uid) === followed && !signal.aborted) {
      followed.wanted = false;
      const read = readByAll(followed);
      const after = followed.history?.view.index ?? 0;
      const { generation } = followed;
      try {
        await this.#request((s) => coordinator.followRecords(uid, { read, after, generation }, s));
        followed.acked = read;
        followed.complaint = "";
      } catch (e) {
        this.#complain(uid, followed, DvsError.from(e));
        followed.wanted = true;
        await pause(backoffMs * (0.5 + Math.random() / 2), signal);
        backoffMs = Math.min(reconnectMaxMs, backoffMs * 2);
      }
    }
    followed.asking = false;
  }

  /** Once of each reason that somebody has to look into. */
  #complain(uid: string, followed: Followed, { code, message }: DvsError): void {
    if (code !== "CONFLICT" || message === followed.complaint) return;
    followed.complaint = message;
    this.#options.log("error", `kernels of instance ${uid} hear of nothing new: ${message}`);
  }

  async #propose(
    uid: string,
    { id, record, generation }: Extract<FromKernel, { type: "kernelPropose" }>,
    send: Send,
  ): Promise<void> {
    const { coordinator } = this.#options;
    try {
      const index = await this.#request((s) => coordinator.proposeRecord(uid, { id, record, generation }, s));
      send({ type: "kernelProposed", id, index, code: "", reason: "" });
    } catch (e) {
      const error = DvsError.from(e);
      // Our own limit of time: it may have been sent.
      const code = error.code === "TIMEOUT" ? "OUTCOME_UNKNOWN" : error.code;
      send({ type: "kernelProposed", id, index: null, code, reason: error.message });
    }
  }

  /** Until a coordinator has taken it, or says that there is nothing of this node to certify. */
  async #certify(uid: string, incarnation: string): Promise<void> {
    const { coordinator, signal, log } = this.#options;
    let backoffMs = reconnectMinMs;
    while (!signal.aborted) {
      try {
        return await this.#request((s) => coordinator.containerExited(uid, incarnation, s));
      } catch (e) {
        const { code, message } = DvsError.from(e);
        if (code === "NOT_FOUND" || code === "FORBIDDEN") return;
        if (code === "INVALID") {
          log("error", `the end of a container of instance ${uid} cannot be certified: ${message}`);
          return;
        }
      }
      await pause(backoffMs * (0.5 + Math.random() / 2), signal);
      backoffMs = Math.min(reconnectMaxMs, backoffMs * 2);
    }
  }

  #request<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return limited(this.#options.signal, agentRequestTimeoutMs, action);
  }
}

/** What follows what it has been sent. */
function push(reader: Reader, { history, generation }: Followed): void {
  if (!history) return;
  while (reader.send && (!reader.answered || reader.sent < history.view.index)) {
    reader.answered = true;
    const batch = history.after(reader.sent, recordsPerBatch);
    reader.send({ type: "kernelRecords", ...batch, generation });
    reader.sent = Math.max(reader.sent, batch.records.at(-1)?.index ?? history.view.index);
  }
}

function readByAll({ readers, history }: Followed): number {
  let index = history?.view.index ?? 0;
  for (const { read } of readers.values()) index = Math.min(index, read);
  return index;
}
