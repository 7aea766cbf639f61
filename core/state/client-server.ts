/**
 * A replica's side of its clients' links (client/messages.ts): containers, and agents for people. What is refused here
 * has nothing to do with replication: an operation that its module does not know, a client that asks without end.
 */
import { DvsError } from "../errors.ts";
import { Malformed } from "../kernel/proxy/malformed.ts";
import { stateAskedMax, stateUnsentBytesMax } from "../limits.ts";
import { lastingRefusals, type RefusalReason, type WriteOutcome } from "../replica/sink.ts";
import { clientNumbers, type Outcome, outcomes, readClientMessage } from "./client/messages.ts";
import type { Fields } from "./link/frames.ts";
import type { Link, LinkUser } from "./link/link.ts";
import { isSame } from "./keys.ts";
import type { Follower } from "./module.ts";
import type { ReplicaHost } from "./replica-host.ts";
import { decodeResult } from "./result.ts";

interface Client {
  asked: number;
  /** By ticket. */
  followers: Map<number, Followed>;
}
interface Followed {
  readonly follower: Follower;
  /** It is looked at again anyhow. */
  isWaiting: boolean;
}

/** Values of one follower in one turn. */
const eventsPerTurn = 64;
/** Whether somebody slow has read by now is looked at so often. */
const slowLookMs = 20;

export class ClientServer implements LinkUser {
  readonly #host: ReplicaHost;
  readonly #clients = new Map<Link, Client>();
  /** Clients that follow, or did. */
  readonly #following = new Set<Link>();

  constructor(host: ReplicaHost) {
    this.#host = host;
  }

  onOpen(link: Link): void {
    this.#clients.set(link, { asked: 0, followers: new Map() });
  }

  onMessage(fields: Fields, link: Link): void {
    const client = this.#clients.get(link);
    if (!client) return;
    switch (fields[0]) {
      case clientNumbers.write:
        return this.#write(client, link, fields);
      case clientNumbers.read:
        return this.#read(client, link, fields);
      case clientNumbers.sync:
        return this.#sync(client, link, fields);
      case clientNumbers.follow:
        return this.#follow(client, link, fields);
      case clientNumbers.unfollow:
        client.followers.delete(readClientMessage("unfollow", fields)[1]);
        return;
      default:
        throw new Malformed(`message ${String(fields[0])} from a client`);
    }
  }

  onClose(_why: string, link: Link): void {
    this.#clients.delete(link);
    this.#following.delete(link);
  }

  /** Something was applied: those who follow are told. */
  applied(): void {
    for (const link of this.#following) {
      const { followers } = this.#clients.get(link)!;
      for (const [ticket, followed] of followers) if (!followed.isWaiting) this.#feed(link, ticket, followed);
    }
  }

  #write(client: Client, link: Link, fields: Fields): void {
    const [, sequence, ackedBelow, module, operation] = readClientMessage("write", fields);
    const answer = (outcome: Outcome, value: unknown, index: number) => {
      client.asked--;
      link.send([clientNumbers.written, sequence, outcome, value, index]);
    };
    client.asked++;
    if (client.asked > stateAskedMax) return answer(outcomes.refused, tooMany, 0);
    const name = link.peer!.incarnation;
    try {
      const bytes = this.#host.module(module).encode(operation);
      const request = { client: name, sequence, ackedBelow, module, operation: bytes };
      this.#host.write(request, (outcome) => tell(answer, outcome));
    } catch (e) {
      answer(outcomes.invalid, refusalOf(e), 0);
    }
  }

  #read(client: Client, link: Link, fields: Fields): void {
    const [, ticket, name, query] = readClientMessage("read", fields);
    const answer = (outcome: Outcome, value: unknown, index: number) => {
      client.asked--;
      link.send([clientNumbers.answer, ticket, outcome, value, index]);
    };
    client.asked++;
    if (client.asked > stateAskedMax) return answer(outcomes.refused, tooMany, 0);
    const read = (keys: readonly string[] | null): void => {
      let isNow = true;
      this.#host.read(keys, (outcome) => {
        if (outcome.type === "refused") return answer(codeOf(outcome.reason), outcome.text, 0);
        try {
          // While it waited, a name may have got another inode, of which nobody has asked whether it is clean.
          const again = isNow || keys === null ? keys : this.#host.module(name).keysOf(query);
          if (keys !== null && !isSame(keys, again)) return read(again);
          // Another one, if a snapshot was installed meanwhile.
          const value = this.#host.module(name).read(query);
          if (!(value instanceof Promise)) return answer(outcomes.ok, value, outcome.index);
          // What is true was decided now; bytes come from the disk.
          value.then(
            (bytes: unknown) => answer(outcomes.ok, bytes, outcome.index),
            (e: unknown) => answer(outcomes.refused, DvsError.from(e).message, 0),
          );
        } catch (e) {
          answer(outcomes.invalid, refusalOf(e), 0);
        }
      });
      isNow = false;
    };
    try {
      read(this.#host.module(name).keysOf(query));
    } catch (e) {
      answer(outcomes.invalid, refusalOf(e), 0);
    }
  }

  #sync(client: Client, link: Link, fields: Fields): void {
    const [, ticket] = readClientMessage("sync", fields);
    const answer = (outcome: Outcome, value: unknown, index: number) => {
      client.asked--;
      link.send([clientNumbers.answer, ticket, outcome, value, index]);
    };
    client.asked++;
    if (client.asked > stateAskedMax) return answer(outcomes.refused, tooMany, 0);
    this.#host.sync((outcome) => {
      if (outcome.type === "ok") return answer(outcomes.ok, null, outcome.index);
      // Asked again, it does no harm.
      const why = outcome.type === "refused" ? outcome.text : "the primary has changed";
      answer(outcome.type === "refused" ? codeOf(outcome.reason) : outcomes.refused, why, 0);
    });
  }

  #follow(client: Client, link: Link, fields: Fields): void {
    const [, ticket, name, query] = readClientMessage("follow", fields);
    try {
      const module = this.#host.module(name);
      if (client.followers.size >= stateAskedMax) throw new DvsError("EXHAUSTED", tooMany);
      if (!module.follow) throw new DvsError("INVALID", `Nothing of module "${name}" can be followed.`);
      const followed = { follower: module.follow(query), isWaiting: false };
      client.followers.set(ticket, followed);
      this.#following.add(link);
      this.#feed(link, ticket, followed);
    } catch (e) {
      link.send([clientNumbers.ended, ticket, outcomes.invalid, refusalOf(e)]);
    }
  }

  /** Somebody who reads slowly is told the rest later: nothing is kept for it here. */
  #feed(link: Link, ticket: number, followed: Followed): void {
    const client = this.#clients.get(link);
    if (client?.followers.get(ticket) !== followed) return;
    const again = (): void => this.#feed(link, ticket, followed);
    followed.isWaiting = link.queued > stateUnsentBytesMax;
    if (followed.isWaiting) {
      setTimeout(again, slowLookMs);
      return;
    }
    let values: unknown[];
    try {
      values = followed.follower.next(eventsPerTurn);
    } catch (e) {
      client.followers.delete(ticket);
      link.send([clientNumbers.ended, ticket, outcomes.invalid, refusalOf(e)]);
      return;
    }
    for (const value of values) link.send([clientNumbers.event, ticket, value]);
    followed.isWaiting = values.length === eventsPerTurn;
    if (followed.isWaiting) setImmediate(again);
  }
}

const tooMany = `more than ${stateAskedMax} questions of this client are open: wait for answers`;

function tell(
  answer: (outcome: Outcome, value: unknown, index: number) => void,
  outcome: WriteOutcome,
): void {
  switch (outcome.type) {
    case "ok": {
      const result = decodeResult(outcome.result);
      if (result.ok) answer(outcomes.ok, result.value, outcome.index);
      else answer(outcomes.invalid, result.message, outcome.index);
      return;
    }
    case "refused":
      return answer(codeOf(outcome.reason), outcome.text, 0);
    case "uncertain":
      return answer(outcomes.uncertain, "no primary has answered", 0);
    case "unknown":
      return answer(outcomes.unknown, "its result is not kept any more", 0);
  }
}

function codeOf(reason: RefusalReason): Outcome {
  return lastingRefusals.has(reason) ? outcomes.unavailable : outcomes.refused;
}

/** Throws what is a defect. */
function refusalOf(e: unknown): string {
  if (e instanceof DvsError) return e.message;
  throw e;
}
