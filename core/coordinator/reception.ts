/**
 * What a coordinator's two ports answer with. While it acts, its own routes do; while it stands by, calls of people
 * go on to the coordinator that acts, whose answer comes back: whichever coordinator somebody knows answers all.
 * Agents are told to go elsewhere, since they keep streams open and should not pay for two connections.
 *
 * While nobody acts, a call waits for a successor, who takes two seconds. A call is sent again only if nothing of it
 * was done: it was refused by one who does not act, never reached anybody, or only reads.
 */
import { coordinatorsHeader } from "../api/coordinators.ts";
import { DvsError } from "../errors.ts";
import { leaderWaitMs, requestBodyBytesMax } from "../limits.ts";
import { peerOf } from "../transport/peer.ts";
import { createClient, type Client } from "../transport/client.ts";
import type { Identity } from "../trust/identity.ts";
import { errorResponse } from "./api/errors.ts";
import type { Member, Members } from "./members.ts";

/** Set on a call that another coordinator has passed on: it is not passed on again. */
const passedOnHeader = "x-dvs-passed-on";
/** Set on the answer of a coordinator that does not act: nothing was done. */
const standbyHeader = "x-dvs-standby";

/** A leader that does not even accept a connection is as good as gone. */
const connectTimeoutMs = 1_000;
const lookMs = 100;
/** An answer may take as long as an upload does; who leads is watched meanwhile. */
const answerTimeoutMs = 2 ** 31 - 1;
/** Of one connection, or added by the client or server at each end. */
const hopHeaders = ["connection", "keep-alive", "transfer-encoding", "content-length", "host", "date"];

export interface Acting {
  fetchApi: (request: Request) => Response | Promise<Response>;
  fetchAgents: (request: Request, identity: Identity) => Response | Promise<Response>;
}

export interface ReceptionOptions {
  id: string;
  clusterId: string;
  /** PEM. */
  ca: string;
  members: Members;
  waitMs?: number;
}

interface Leader {
  member: Member;
  client: Client;
  /** Aborted when another one leads, or nobody. */
  over: AbortController;
}

export class Reception {
  readonly #options: ReceptionOptions;
  #acting: Acting | null = null;
  #leader: Leader | null = null;
  /** Why nobody acts, as far as it is known. */
  #trouble = "";

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  get acts(): boolean {
    return this.#acting !== null;
  }

  /** This coordinator acts, or no longer does (null). */
  setActing(acting: Acting | null): void {
    this.#acting = acting;
    if (acting) this.setLeader("");
  }

  /** Who leads, another one than this; "" for nobody. */
  setLeader(holder: string): void {
    this.#trouble = "";
    const member = holder === this.#options.id ? undefined : this.#options.members.get(holder);
    const known = this.#leader?.member;
    if (known?.id === member?.id && known?.api === member?.api) return;
    this.#leader?.over.abort(new DvsError("UNAVAILABLE", "The coordinator that answered acts no longer."));
    this.#leader?.client.close();
    this.#leader = member
      ? {
          member,
          over: new AbortController(),
          client: createClient({
            addresses: [member.api],
            trust: { ca: this.#options.ca },
            checkPeer: peerOf(["coordinator"], this.#options.clusterId),
            connectTimeoutMs,
          }),
        }
      : null;
  }

  setTrouble(message: string): void {
    this.#trouble = message;
  }

  close(): void {
    this.setLeader("");
  }

  fetchApi = async (request: Request): Promise<Response> => {
    const response = await this.#answer(request);
    try {
      response.headers.set(coordinatorsHeader, this.#options.members.addresses("api").join(","));
    } catch {
      // Headers of some answers cannot be changed; the next one tells.
    }
    return response;
  };

  fetchAgents = (request: Request, identity: Identity): Response | Promise<Response> =>
    this.#acting?.fetchAgents(request, identity) ?? this.#refusal();

  async #answer(request: Request): Promise<Response> {
    if (this.#acting) return this.#acting.fetchApi(request);
    const { pathname } = new URL(request.url);
    // This host process is well, which is all that is asked.
    if (pathname === "/healthz") return new Response("ok\n");
    if (request.headers.has(passedOnHeader)) return this.#refusal();
    const body = await bodyOf(request);
    const untilMs = performance.now() + (this.#options.waitMs ?? leaderWaitMs);
    let last: DvsError | null = null;
    for (;;) {
      const acting = this.#now();
      if (acting) return acting.fetchApi(replayed(request, body));
      if (this.#leader) {
        const outcome = await this.#passOn(this.#leader, request, body);
        if (outcome instanceof Response) return outcome;
        last = outcome.error;
        if (!outcome.again) return errorResponse(last);
      }
      if (performance.now() >= untilMs || request.signal.aborted) {
        return last ? errorResponse(last) : this.#refusal();
      }
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  }

  /** After a wait it may be another than before. */
  #now(): Acting | null {
    return this.#acting;
  }

  /** The leader's answer, or why there is none and whether the call may be sent again. */
  async #passOn(
    leader: Leader,
    request: Request,
    body: Body,
  ): Promise<Response | { error: DvsError; again: boolean }> {
    const { pathname, search } = new URL(request.url);
    const reads = request.method === "GET" || request.method === "HEAD";
    const headers: Record<string, string> = { [passedOnHeader]: this.#options.id };
    for (const [name, value] of request.headers) if (!hopHeaders.includes(name)) headers[name] = value;
    let sending = false;
    try {
      const response = await leader.client.request({
        method: request.method,
        path: pathname + search,
        headers,
        ...(body === undefined ? {} : { body }),
        idempotent: reads,
        onSending: () => (sending = true),
        timeoutMs: answerTimeoutMs,
        signal: AbortSignal.any([request.signal, leader.over.signal]),
      });
      if (response.headers.has(standbyHeader)) {
        await response.body?.cancel();
        return { error: this.#nobody(), again: !(body instanceof ReadableStream) };
      }
      const kept = new Headers(response.headers);
      for (const name of hopHeaders) kept.delete(name);
      return new Response(response.body, { status: response.status, headers: kept });
    } catch (e) {
      const error = leader.over.signal.aborted ? lostLeader(request, reads || !sending) : DvsError.from(e);
      return { error, again: error.code === "UNAVAILABLE" && !(body instanceof ReadableStream) };
    }
  }

  #nobody(): DvsError {
    const why = this.#trouble === "" ? "a successor takes over within seconds" : this.#trouble;
    return new DvsError("UNAVAILABLE", `No coordinator acts just now: ${why}. Try again.`);
  }

  #refusal(): Response {
    const leader = this.#leader?.member.agents;
    const error =
      leader === undefined
        ? this.#nobody()
        : new DvsError("UNAVAILABLE", `This coordinator stands by; the one at ${leader} acts.`);
    const response = errorResponse(error);
    response.headers.set(standbyHeader, "1");
    return response;
  }
}

function lostLeader(request: Request, undone: boolean): DvsError {
  const what = `${request.method} ${new URL(request.url).pathname}: the coordinator that acted is gone`;
  if (undone) return new DvsError("UNAVAILABLE", `${what}.`);
  return new DvsError(
    "OUTCOME_UNKNOWN",
    `${what}; it may or may not have been done. Look before repeating it.`,
  );
}

type Body = Uint8Array | ReadableStream<Uint8Array> | undefined;

/** Whole where it is small, so that it can be sent twice. */
async function bodyOf(request: Request): Promise<Body> {
  if (!request.body) return undefined;
  const length = Number(request.headers.get("content-length") ?? Number.NaN);
  if (length <= requestBodyBytesMax) return new Uint8Array(await request.arrayBuffer());
  return request.body;
}

function replayed(request: Request, body: Body): Request {
  if (!(body instanceof Uint8Array)) return request;
  const { url, method, headers, signal } = request;
  return new Request(url, { method, headers, signal, body: body as BodyInit });
}
