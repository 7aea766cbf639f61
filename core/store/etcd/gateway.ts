/**
 * Requests to etcd's JSON gateway. The gateway balances nothing and waits long, so this side has its
 * own time-outs and goes to the next endpoint when one fails: a hung member, or one without a leader, answers
 * nothing at all until *we* give up.
 *
 * What a failure means for a write:
 * - `unsent`: it was certainly not carried out (no connection, or refused before it was proposed): tried elsewhere;
 * - `lost`: it may have been carried out, now or later: never sent again from here, ends with UNKNOWN_OUTCOME.
 */
import { sleep, type Clock } from "../clock.ts";
import { StoreError } from "../store.ts";
import { errorOf } from "./etcd-errors.ts";
import { Login, type EtcdUser } from "./login.ts";
import { isUnsent, plainTransport, type EtcdTransport } from "./transport.ts";

export interface Timeouts {
  /** One request to one member. Longer than an election with etcd's default timers would often be too long. */
  attemptMs: number;
  /** All attempts of one request together. */
  deadlineMs: number;
}

/** `repeat`: reading it twice or doing it twice is the same as once. `once`: a transaction that writes. */
export type Repeatable = "repeat" | "once";

export class RequestFailure extends Error {
  readonly outcome: "unsent" | "lost";
  constructor(outcome: "unsent" | "lost", message: string, cause?: unknown) {
    super(message, { cause });
    this.outcome = outcome;
  }
}

/** Fails at once, instead of hanging, when the member knows that it has no leader. */
const headers = { "content-type": "application/json", "grpc-metadata-hasleader": "true" };
/** After every endpoint has failed. */
const pauseMs = 100;

export class Gateway {
  #endpoints: readonly string[];
  readonly #timeouts: Timeouts;
  readonly #clock: Clock;
  readonly #transport: EtcdTransport;
  readonly #login: Login | null;
  #current = 0;

  /** Endpoints as `http://127.0.0.1:2379`. */
  constructor(
    endpoints: readonly string[],
    timeouts: Timeouts,
    clock: Clock,
    { transport = plainTransport, user }: { transport?: EtcdTransport; user?: EtcdUser } = {},
  ) {
    this.#endpoints = endpoints;
    this.#timeouts = timeouts;
    this.#clock = clock;
    this.#transport = transport;
    this.#login = user ? new Login(user) : null;
  }

  get endpoints(): readonly string[] {
    return this.#endpoints;
  }

  /** Members have come or gone; at least one. */
  setEndpoints(endpoints: readonly string[]): void {
    const current = this.endpoint;
    this.#endpoints = endpoints;
    this.#current = Math.max(0, endpoints.indexOf(current));
  }

  close(): void {
    this.#transport.close();
  }

  get endpoint(): string {
    return this.endpoints[this.#current]!;
  }

  /** Says that this endpoint failed; the next one is used from now on, unless somebody has moved on already. */
  leave(endpoint: string): void {
    if (this.endpoint === endpoint) this.#current = (this.#current + 1) % this.endpoints.length;
  }

  /** This endpoint is well, and nearer than others: it is used from now on. */
  prefer(endpoint: string): void {
    const at = this.endpoints.indexOf(endpoint);
    if (at >= 0) this.#current = at;
  }

  /** Throws StoreError: what etcd refused, UNKNOWN_OUTCOME (only `once`), or UNAVAILABLE after deadlineMs. */
  async call(path: string, body: unknown, repeatable: Repeatable): Promise<unknown> {
    const deadline = this.#clock.now() + this.#timeouts.deadlineMs;
    for (let failures = 1; ; failures += 1) {
      const endpoint = this.endpoint;
      try {
        return await this.callAt(endpoint, path, body, repeatable);
      } catch (e) {
        if (!(e instanceof RequestFailure)) throw e;
        this.leave(endpoint);
        if (repeatable === "once" && e.outcome === "lost") {
          throw new StoreError("UNKNOWN_OUTCOME", `The answer to a write was lost: ${e.message}.`, e);
        }
        if (this.#clock.now() >= deadline) {
          throw new StoreError("UNAVAILABLE", `No etcd member answers: ${e.message}.`, e);
        }
      }
      if (failures % this.endpoints.length === 0) await sleep(this.#clock, pauseMs);
    }
  }

  /** One attempt at one member. Throws RequestFailure, or StoreError for what etcd refused. */
  async callAt(
    endpoint: string,
    path: string,
    body: unknown,
    repeatable: Repeatable = "repeat",
  ): Promise<unknown> {
    const controller = new AbortController();
    const stop = this.#clock.setTimer(this.#timeouts.attemptMs, () => controller.abort());
    let status: number;
    let text: string;
    try {
      const response = await this.#send(endpoint, path, body, repeatable, controller.signal);
      status = response.status;
      text = await response.text();
    } catch (e) {
      if (e instanceof StoreError) throw e;
      const reason = controller.signal.aborted
        ? `no answer within ${this.#timeouts.attemptMs} ms`
        : messageOf(e);
      throw new RequestFailure(isUnsent(e) ? "unsent" : "lost", `${endpoint}: ${reason}`, e);
    } finally {
      stop();
    }
    const answer = parse(text);
    if (status === 200 && answer !== null) return answer;
    if (this.#login?.refused(text)) {
      throw new RequestFailure("unsent", `${endpoint}: it wants a new token`);
    }
    throw errorOf(endpoint, status, answer);
  }

  /** A response whose body is read as it comes. */
  stream(endpoint: string, path: string, body: unknown, signal: AbortSignal): Promise<Response> {
    return this.#send(endpoint, path, body, "repeat", signal);
  }

  async #send(
    endpoint: string,
    path: string,
    body: unknown,
    repeatable: Repeatable,
    signal: AbortSignal,
  ): Promise<Response> {
    const request = { endpoint, repeatable: repeatable === "repeat", signal };
    const token = await this.#login?.headers(async ({ name, password }) => {
      const response = await this.#transport.send({
        ...request,
        path: "/v3/auth/authenticate",
        headers,
        json: JSON.stringify({ name, password }),
        repeatable: true,
      });
      const answer = (await response.json()) as { token?: string; error?: string };
      if (answer.token) return answer.token;
      // Nothing of the request itself was sent.
      throw new StoreError("UNAVAILABLE", `etcd lets nobody in as ${name}: ${answer.error ?? "no token"}.`);
    });
    return this.#transport.send({
      ...request,
      path: `/v3/${path}`,
      headers: { ...headers, ...token },
      json: JSON.stringify(body),
    });
  }
}

function parse(text: string): object | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
