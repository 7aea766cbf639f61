/**
 * A client of an instance's OS state. It keeps a link to one replica, the one of its own node where there is one,
 * and asks another when that breaks or does not serve. Each write has a number and is sent again until there is an
 * answer, so that it is carried out once however often links and primaries change; after its time it is
 * OUTCOME_UNKNOWN if it may have been carried out.
 */
import { DvsError } from "../../errors.ts";
import {
  stateRedialMaxMs,
  stateRedialMinMs,
  stateRetryMs,
  stateSecondDialMs,
  stateTimeoutMs,
} from "../../limits.ts";
import { Malformed } from "../../kernel/proxy/malformed.ts";
import type { ReplicaAddress } from "../replica-set.ts";
import type { Fields } from "../link/frames.ts";
import type { Link } from "../link/link.ts";
import { dialState, type LinkIdentity } from "../link/listen.ts";
import { clientNumbers, outcomes, readClientMessage } from "./messages.ts";
import { Following } from "./following.ts";

interface Asked {
  readonly what: string;
  /** As it goes over a link; of a write `ackedBelow` is filled in when it leaves. */
  readonly fields: unknown[];
  readonly isWrite: boolean;
  /** It was sent over the link that there is, and has no answer. */
  waiting: boolean;
  /** A link broke while it waited: it may have been carried out. */
  uncertain: boolean;
  /** Why it has no answer yet. */
  reason: string;
  timer: ReturnType<typeof setTimeout>;
  resolve(answer: StateAnswer): void;
  reject(error: DvsError): void;
}

export interface StateAnswer {
  value: unknown;
  /** Of the record that did it, or up to which the reader had applied; 0: it was read beside a replica. */
  index: number;
}

export interface StateClientOptions {
  /** `disk` is empty; `incarnation` is the client's name: nobody else may have it. */
  identity: LinkIdentity;
  /** In [0, 1). */
  random?: () => number;
}

/** Reads without asking, where that is sure to be right; null: ask. Throws INVALID. */
export interface StateReader {
  read(module: string, query: unknown): { value: unknown } | null;
}

export class StateClient {
  readonly #identity: LinkIdentity;
  readonly #random: () => number;
  #replicas: ReplicaAddress[] = [];
  /** It is open. */
  #link: Link | null = null;
  /** Not open yet. */
  readonly #dialled = new Map<Link, ReplicaAddress>();
  /** The disk of the replica that was left last. */
  #left = "";
  /** Which of the replicas is dialled next. */
  #next = 0;
  #backoffMs = stateRedialMinMs;
  #redial: ReturnType<typeof setTimeout> | undefined;
  #sequence = 0;
  /** A write of this client was carried out. */
  #known = false;
  #ticket = 0;
  readonly #writes = new Map<number, Asked>();
  readonly #reads = new Map<number, Asked>();
  readonly #followings = new Map<number, Following>();
  #retry: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #reader: StateReader | null = null;
  #why = "no replica of the instance is known yet";

  constructor({ identity, random = Math.random }: StateClientOptions) {
    this.#identity = identity;
    this.#random = random;
  }

  /** The replicas that there are now. */
  setReplicas(replicas: readonly ReplicaAddress[]): void {
    const isKnown = (to: ReplicaAddress) => this.#replicas.some((other) => isSame(other, to));
    // They have agreed on something that is theirs: whoever did not serve is not gone back to for that.
    if (replicas.length === this.#replicas.length && replicas.every(isKnown)) return;
    const { node } = this.#identity;
    const near = replicas.filter((replica) => replica.node === node);
    const far = replicas.filter((replica) => replica.node !== node);
    // Not all clients of other nodes ask the same one.
    const turn = far.length > 0 ? Math.floor(this.#random() * far.length) : 0;
    const all = [...near, ...far.slice(turn), ...far.slice(0, turn)];
    const isLeft = ({ disk }: ReplicaAddress) => disk === this.#left;
    this.#replicas = [...all.filter((replica) => !isLeft(replica)), ...all.filter(isLeft)];
    this.#next = 0;
    const peer = this.#link?.peer;
    if (peer && !replicas.some(({ disk }) => disk === peer.disk)) this.#link!.close();
    if (!this.#link) this.#dial();
  }

  /**
   * Carries out an operation of a module once. Rejects with INVALID (the module refuses it), UNAVAILABLE (not carried
   * out, with the reason) or OUTCOME_UNKNOWN.
   */
  write(module: string, operation: unknown, timeoutMs = stateTimeoutMs): Promise<StateAnswer> {
    const sequence = ++this.#sequence;
    const fields = [clientNumbers.write, sequence, 0, module, operation];
    return this.#ask(this.#writes, sequence, {
      what: `write to ${module}`,
      fields,
      isWrite: true,
      timeoutMs,
    });
  }

  /** Of a replica beside this client. */
  setReader(reader: StateReader | null): void {
    this.#reader = reader;
  }

  /** Reads what was acknowledged before, from whichever replica answers. Rejects with INVALID or UNAVAILABLE. */
  read(module: string, query: unknown, timeoutMs = stateTimeoutMs): Promise<StateAnswer> {
    try {
      const found = this.#closed ? null : this.#reader?.read(module, query);
      if (found?.value instanceof Promise) {
        return found.value.then(
          (value: unknown) => ({ value, index: 0 }),
          // Bytes that cannot be had here.
          () => this.#askToRead(module, query, timeoutMs),
        );
      }
      if (found) return Promise.resolve({ value: found.value, index: 0 });
    } catch (e) {
      return Promise.reject(DvsError.from(e));
    }
    return this.#askToRead(module, query, timeoutMs);
  }

  #askToRead(module: string, query: unknown, timeoutMs: number): Promise<StateAnswer> {
    const ticket = ++this.#ticket;
    const fields = [clientNumbers.read, ticket, module, query];
    return this.#ask(this.#reads, ticket, { what: `read of ${module}`, fields, isWrite: false, timeoutMs });
  }

  /**
   * Resolves when all that was acknowledged before, to whomever, survives a power cut of all machines. Rejects with
   * UNAVAILABLE.
   */
  async sync(timeoutMs = stateTimeoutMs): Promise<void> {
    const ticket = ++this.#ticket;
    const fields = [clientNumbers.sync, ticket];
    await this.#ask(this.#reads, ticket, { what: "sync", fields, isWrite: false, timeoutMs });
  }

  /**
   * What a module tells as it happens. After a broken link it is asked for again with what `resume` makes of the query
   * and the last value, so that nothing is missed or told twice. Throws INVALID when the module refuses it.
   */
  follow(
    module: string,
    query: unknown,
    resume: (query: unknown, last: unknown) => unknown,
    signal: AbortSignal,
  ): AsyncIterable<unknown> {
    const ticket = ++this.#ticket;
    const following = new Following(ticket, module, query, resume, () => {
      this.#followings.delete(ticket);
      this.#link?.send([clientNumbers.unfollow, ticket]);
    });
    if (signal.aborted || this.#closed) following.end();
    else {
      this.#followings.set(ticket, following);
      signal.addEventListener("abort", () => following.end(), { once: true });
      this.#link?.send(following.fields());
    }
    return following;
  }

  /** What is under way is rejected. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#redial);
    clearTimeout(this.#retry);
    this.#link?.close();
    for (const link of this.#dialled.keys()) link.destroy("the client was closed");
    for (const asked of [this.#writes, this.#reads]) {
      for (const key of asked.keys()) this.#giveUp(asked, key, "the client was closed");
    }
    for (const following of this.#followings.values()) following.end();
  }

  #ask(
    table: Map<number, Asked>,
    key: number,
    { timeoutMs, ...what }: { what: string; fields: unknown[]; isWrite: boolean; timeoutMs: number },
  ): Promise<StateAnswer> {
    if (this.#closed) return Promise.reject(new DvsError("UNAVAILABLE", `Cannot ${what.what}: closed.`));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#giveUp(table, key, `no answer within ${timeoutMs / 1000} s`),
        timeoutMs,
      );
      const asked: Asked = { ...what, waiting: false, uncertain: false, reason: "", timer, resolve, reject };
      table.set(key, asked);
      this.#send(asked);
    });
  }

  #send(asked: Asked): void {
    const link = this.#link;
    if (!link?.isOpen) return;
    if (asked.isWrite) asked.fields[2] = this.#ackedBelow();
    asked.waiting = true;
    link.send(asked.fields);
  }

  /**
   * Writes below it have an outcome that this client knows, or does not want to know any more. It stays 1 until one was
   * carried out: of a client whose first writes came to nothing, the replicas know nothing.
   */
  #ackedBelow(): number {
    if (!this.#known) return 1;
    for (const sequence of this.#writes.keys()) return sequence;
    return this.#sequence + 1;
  }

  #giveUp(table: Map<number, Asked>, key: number, reason: string): void {
    const asked = table.get(key);
    if (!asked) return;
    table.delete(key);
    clearTimeout(asked.timer);
    const why = [reason, asked.reason || (this.#link?.isOpen ? "" : this.#why)].filter(Boolean).join("; ");
    const unknown = asked.isWrite && (asked.waiting || asked.uncertain);
    asked.reject(
      unknown
        ? new DvsError("OUTCOME_UNKNOWN", `The ${asked.what} may or may not have been carried out: ${why}.`)
        : new DvsError("UNAVAILABLE", `Cannot ${asked.what}: ${why}.`),
    );
  }

  /** The next replica, and soon another one beside it: a stopped process, a machine that is cut off, takes its time to fail. */
  #dial(): void {
    clearTimeout(this.#redial);
    if (this.#closed || this.#link) return;
    const to = this.#nextToDial();
    if (!to) return;
    const user = {
      onOpen: (link: Link) => this.#onOpen(link),
      onMessage: (fields: Fields, link: Link) => {
        if (link === this.#link) this.#onMessage(fields);
      },
      onClose: (why: string, link: Link) => this.#onClose(why, link, to),
    };
    this.#dialled.set(dialState({ identity: this.#identity, to, role: "client", toDisk: to.disk, user }), to);
    this.#redial = setTimeout(() => this.#dial(), stateSecondDialMs);
  }

  /** None when all are being dialled. */
  #nextToDial(): ReplicaAddress | undefined {
    const dialled = [...this.#dialled.values()];
    for (let i = 0; i < this.#replicas.length; i++) {
      const to = this.#replicas[this.#next++ % this.#replicas.length]!;
      if (!dialled.some((other) => isSame(other, to))) return to;
    }
    return undefined;
  }

  #onOpen(link: Link): void {
    clearTimeout(this.#redial);
    this.#dialled.delete(link);
    this.#link = link;
    for (const other of this.#dialled.keys()) other.destroy("another replica was faster");
    this.#backoffMs = stateRedialMinMs;
    this.#askAgain(link);
  }

  #askAgain(link: Link): void {
    for (const asked of this.#writes.values()) this.#send(asked);
    for (const asked of this.#reads.values()) this.#send(asked);
    for (const following of this.#followings.values()) link.send(following.fields());
  }

  #onClose(why: string, link: Link, to: ReplicaAddress): void {
    const wasOpen = this.#link === link;
    if (!wasOpen && !this.#dialled.delete(link)) return;
    if (wasOpen) {
      this.#link = null;
      this.#left = to.disk;
      for (const asked of this.#writes.values()) {
        asked.uncertain ||= asked.waiting;
        asked.waiting = false;
      }
    } else if (this.#link) return;
    this.#why = `the replica on node ${to.node} cannot be reached: ${why}`;
    if (this.#closed) return;
    // A link that had been open is followed at once; a round of dials that all failed by a pause that grows.
    const pause = wasOpen ? 0 : this.#backoffMs * (0.5 + this.#random() / 2);
    if (this.#next % Math.max(1, this.#replicas.length) === 0) {
      this.#backoffMs = Math.min(2 * this.#backoffMs, stateRedialMaxMs);
    }
    clearTimeout(this.#redial);
    this.#redial = setTimeout(() => this.#dial(), pause);
  }

  #onMessage(fields: Fields): void {
    switch (fields[0]) {
      case clientNumbers.written: {
        const [, sequence, outcome, value, index] = readClientMessage("written", fields);
        return this.#answered(this.#writes, sequence, outcome, value, index);
      }
      case clientNumbers.answer: {
        const [, ticket, outcome, value, index] = readClientMessage("answer", fields);
        return this.#answered(this.#reads, ticket, outcome, value, index);
      }
      case clientNumbers.event: {
        const [, ticket, value] = readClientMessage("event", fields);
        this.#followings.get(ticket)?.push(value);
        return;
      }
      case clientNumbers.ended: {
        const [, ticket, outcome, why] = readClientMessage("ended", fields);
        return this.#ended(ticket, outcome, why);
      }
      default:
        throw new Malformed(`message ${String(fields[0])} from a replica`);
    }
  }

  #answered(table: Map<number, Asked>, key: number, outcome: number, value: unknown, index: number): void {
    const asked = table.get(key);
    if (!asked) return;
    if (outcome === outcomes.refused || outcome === outcomes.uncertain) {
      asked.reason = String(value);
      asked.waiting = false;
      asked.uncertain ||= outcome === outcomes.uncertain;
      this.#retrySoon();
      return;
    }
    table.delete(key);
    clearTimeout(asked.timer);
    if (outcome === outcomes.ok) {
      this.#known ||= asked.isWrite;
      asked.resolve({ value, index });
    } else if (outcome === outcomes.invalid) asked.reject(new DvsError("INVALID", String(value)));
    else if (outcome === outcomes.unavailable && !asked.uncertain) {
      asked.reject(new DvsError("UNAVAILABLE", `Cannot ${asked.what}: ${String(value)}.`));
    } else
      asked.reject(
        new DvsError("OUTCOME_UNKNOWN", `The ${asked.what} may have been carried out: ${String(value)}.`),
      );
  }

  #ended(ticket: number, outcome: number, why: string): void {
    const following = this.#followings.get(ticket);
    if (!following) return;
    if (outcome === outcomes.invalid) following.fail(new DvsError("INVALID", why));
    else this.#retrySoon();
  }

  /** Asks again, and another replica where there is one: this one cannot. */
  #retrySoon(): void {
    if (this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      const link = this.#link;
      if (!link) return;
      if (this.#replicas.length > 1) {
        link.close();
        return;
      }
      this.#askAgain(link);
    }, stateRetryMs);
  }
}

function isSame(a: ReplicaAddress, b: ReplicaAddress): boolean {
  return a.disk === b.disk && a.unix === b.unix && a.host === b.host && a.port === b.port;
}
