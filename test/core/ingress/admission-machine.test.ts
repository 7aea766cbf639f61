import { expect, test } from "bun:test";
import {
  Admission,
  type AdmissionUpstream,
  type Applicant,
  type Refusal,
} from "../../../core/ingress/admission-machine.ts";
import { mayOpen } from "../../../core/ingress/connecting-machine.ts";
import type { HealthStatus } from "../../../core/ingress/health-machine.ts";
import { type LoadLimits, loadLimits } from "../../../core/ingress/load-limits.ts";
import type { Place } from "../../../core/ingress/waiting-line.ts";

/** An upstream whose connections are numbers. */
class FakeUpstream implements AdmissionUpstream {
  readonly name: string;
  readonly local: boolean;
  readonly health = { status: "healthy" as HealthStatus, silent: true, since: 0 };
  readonly #scene: Scene;
  connecting = 0;
  inUse = 0;
  connectFailedCount = 0;
  idle: number[] = [];

  constructor(name: string, scene: Scene) {
    this.name = name;
    this.local = name === "L";
    this.#scene = scene;
  }

  get full(): boolean {
    return this.inUse + this.idle.length + this.connecting >= this.#scene.limits.upstreamConnectionsMax;
  }

  hasIdle(sinceMs: number): boolean {
    return (this.idle.at(-1) ?? -Infinity) >= sinceMs && this.idle.length > 0;
  }

  mayConnect(): boolean {
    const { connecting } = this;
    const open = this.inUse + this.idle.length;
    return mayOpen({ open, connecting, healthy: this.health.status === "healthy" }, this.#scene.limits);
  }

  connect(): void {
    this.connecting++;
    this.#scene.log.push(`${this.name}+`);
  }

  take(): void {
    if (this.idle.pop() === undefined) throw new Error(`${this.name} has nothing idle`);
    this.inUse++;
  }
}

class Request implements Applicant<FakeUpstream> {
  readonly order: number;
  idleMsMax = 1_000;
  avoid: FakeUpstream | null = null;
  place: Place<Applicant<FakeUpstream>> | null = null;
  at: FakeUpstream | null = null;
  readonly #name: string;
  readonly #scene: Scene;

  constructor(name: string, scene: Scene) {
    this.#name = name;
    this.#scene = scene;
    this.order = scene.admission.nextOrder();
  }

  serve(upstream: FakeUpstream): void {
    upstream.take();
    this.at = upstream;
    this.#scene.log.push(`${this.#name}→${upstream.name}`);
  }

  refuse(refusal: Refusal): void {
    this.#scene.log.push(`${this.#name}:${refusal}`);
  }
}

/**
 * Plays words, and `said()` tells what came of them since it was asked last: `a+` a connection to a is being opened,
 * `1→a` request 1 goes to a, `1:waited` it is refused. The words: `1` a request comes, `1.` it has been answered,
 * `1x` its client has gone, `1!` its connection breaks and it comes back, `a^` a connection to a has been opened,
 * `a-` one could not be, `a?` a is suspect, `a!` it has failed, `a=` healthy, `@500` the time.
 */
class Scene {
  log: string[] = [];
  readonly limits: LoadLimits;
  readonly admission: Admission<FakeUpstream>;
  readonly upstreams = new Map<string, FakeUpstream>();
  readonly requests = new Map<string, Request>();
  nowMs = 0;

  constructor(upstreams: string, limits: Partial<LoadLimits> = {}) {
    this.limits = { ...loadLimits, ...limits };
    this.admission = new Admission(this.limits);
    this.table(upstreams);
  }

  table(names: string): void {
    const list = names.split(" ").filter((name) => name !== "");
    for (const name of list) {
      if (!this.upstreams.has(name)) this.upstreams.set(name, new FakeUpstream(name, this));
    }
    this.admission.setUpstreams(
      list.map((name) => this.upstreams.get(name)!),
      this.nowMs,
    );
  }

  play(words: string): this {
    for (const word of words.split(" ")) this.#step(word);
    return this;
  }

  said(): string {
    return this.log.splice(0).join(" ");
  }

  #step(word: string): void {
    const [, name = "", sign = ""] = /^@?(\d+|\w)(.?)$/.exec(word)!;
    const upstream = this.upstreams.get(name);
    if (word.startsWith("@")) {
      this.nowMs = Number(name);
      this.admission.tick(this.nowMs, 0);
    } else if (upstream) this.#onUpstream(upstream, sign);
    else this.#onRequest(name, sign);
  }

  #onUpstream(upstream: FakeUpstream, sign: string): void {
    const statuses: Record<string, HealthStatus> = { "?": "suspect", "!": "failed", "=": "healthy" };
    if (sign === "^" || sign === "-") upstream.connecting--;
    if (sign === "^") {
      upstream.idle.push(this.nowMs);
      this.admission.freed(upstream, this.nowMs);
      this.admission.pump(this.nowMs);
    } else if (sign === "-") this.admission.connectFailed(upstream, this.nowMs);
    else {
      upstream.health.status = statuses[sign]!;
      upstream.health.since = this.nowMs;
      this.admission.pump(this.nowMs);
    }
  }

  #onRequest(name: string, sign: string): void {
    let request = this.requests.get(name);
    if (!request) {
      request = new Request(name, this);
      this.requests.set(name, request);
    }
    if (sign === "") this.admission.enter(request, this.nowMs);
    else if (sign === "x") this.admission.leave(request);
    else {
      const upstream = request.at!;
      upstream.inUse--;
      if (sign === ".") {
        upstream.idle.push(this.nowMs);
        this.admission.freed(upstream, this.nowMs);
      } else {
        request.avoid = upstream;
        this.admission.enter(request, this.nowMs);
      }
    }
  }
}

test("a request opens a connection, waits for it, and the next one finds it idle", () => {
  const scene = new Scene("a").play("1");
  expect(scene.said()).toBe("a+");
  expect(scene.play("a^").said()).toBe("1→a");
  expect(scene.play("1. 2").said()).toBe("2→a");
});

test("whoever waits longest gets what comes first, a freed connection or a new one", () => {
  const scene = new Scene("a").play("1 a^ 2 3");
  expect(scene.said()).toBe("a+ 1→a a+ a+");
  expect(scene.play("1. a^").said()).toBe("2→a 3→a");
  // Nobody waits: what was opened in vain is idle.
  expect(scene.play("a^ 4").said()).toBe("4→a");
});

test("connections are opened for those that wait, some at a time", () => {
  const scene = new Scene("a", { connectingMax: 2 }).play("1 2 3 4 5");
  expect(scene.said()).toBe("a+ a+");
  expect(scene.play("a^ a^").said()).toBe("1→a a+ 2→a a+");
  expect(scene.play("1. 2.").said()).toBe("3→a 4→a");
});

test("never more connections than the bound; all are served in order", () => {
  const scene = new Scene("a", { upstreamConnectionsMax: 2 }).play("1 2 3 4 5 6 a^ a^");
  expect(scene.said()).toBe("a+ a+ 1→a 2→a");
  expect(scene.play("2. 1. 3. 4.").said()).toBe("3→a 4→a 5→a 6→a");
  expect(scene.play("5. 6.").said()).toBe("");
});

test("upstreams take turns, also with the connections that are opened", () => {
  const scene = new Scene("a b c").play("1 2 3 4");
  expect(scene.said()).toBe("a+ b+ c+ a+");
  expect(scene.play("a^ b^ c^ a^ 1. 2. 3. 4. 5 6 7 8").said()).toBe(
    // b's turn, though a has another one idle.
    "1→a 2→b 3→c 4→a 5→b 6→c 7→a b+",
  );
});

test("what one upstream frees serves who waits for another", () => {
  const scene = new Scene("a b", { upstreamConnectionsMax: 1 }).play("1 a^ 2 b^ 3 4");
  expect(scene.said()).toBe("a+ 1→a b+ 2→b");
  expect(scene.play("2. 1.").said()).toBe("3→b 4→a");
});

test("a local one is waited for, and helped out when it is full", () => {
  const scene = new Scene("L b", { upstreamConnectionsMax: 1 }).play("1");
  expect(scene.said()).toBe("L+");
  expect(scene.play("2 L^ b^").said()).toBe("b+ 1→L 2→b");
});

test("a client that goes leaves the line, and its connection to the next", () => {
  const scene = new Scene("a", { upstreamConnectionsMax: 1 }).play("1 a^ 2 3 2x 1.");
  expect(scene.said()).toBe("a+ 1→a 3→a");
  expect(scene.admission.waiting).toBe(0);
});

test("a request that comes back keeps its place before those that came after it", () => {
  const scene = new Scene("a b", { upstreamConnectionsMax: 1 }).play("1 a^ 2 b^ 3 4");
  scene.said();
  // 1 was at a, which now is suspect, so only b may serve it.
  expect(scene.play("a? 1! 2.").said()).toBe("1→b");
  expect(scene.play("1. 3.").said()).toBe("3→b 4→b");
});

test("and may not go where it failed, while those behind it may", () => {
  const scene = new Scene("a b", { upstreamConnectionsMax: 2 }).play("1 a^ 2 b^ 3 a^ 4 b^ 5 6");
  expect(scene.said()).toBe("a+ 1→a b+ 2→b a+ 3→a b+ 4→b");
  expect(scene.play("1! 3.").said()).toBe("a+ 5→a");
  expect(scene.play("2.").said()).toBe("1→b");
});

test("the line has an end", () => {
  const scene = new Scene("a", { waitingMax: 2, upstreamConnectionsMax: 1 }).play("1 a^ 2 3 4");
  expect(scene.said()).toBe("a+ 1→a 4:full");
  expect(scene.play("1.").said()).toBe("2→a");
});

test("nobody waits for longer than stated", () => {
  const scene = new Scene("a", { waitingMs: 100, upstreamConnectionsMax: 1 }).play("1 a^ 2 @50 3 @99");
  expect(scene.said()).toBe("a+ 1→a");
  expect(scene.play("@100 @149").said()).toBe("2:waited");
  expect(scene.play("@150").said()).toBe("3:waited");
});

test("what our own loop is late by counts as no time", () => {
  const scene = new Scene("a", { waitingMs: 100, upstreamConnectionsMax: 1 }).play("1 a^ 2");
  scene.said();
  scene.nowMs = 1_075;
  scene.admission.tick(1_075, 1_000);
  expect(scene.said()).toBe("");
  expect(scene.play("@1099").said()).toBe("");
  expect(scene.play("@1100").said()).toBe("2:waited");
});

test("more than can be served: nobody waits for long, and the line is short", () => {
  const limits = { waitingMs: 3_000, standingMs: 1_000, standingWaitMs: 200, upstreamConnectionsMax: 1 };
  const scene = new Scene("a", limits).play("1 a^ 2 3 4 5 6 7 8 9");
  expect(scene.said()).toBe("a+ 1→a");
  // It moves, slowly.
  expect(scene.play("@200 1. @400 2. @600 3. @800 4. @1000 5.").said()).toBe("2→a 3→a 4→a 5→a 6→a");
  expect(scene.play("@1199").said()).toBe("");
  expect(scene.play("10 @1200").said()).toBe("7:waited 8:waited 9:waited");
  expect(scene.play("6. @1399").said()).toBe("10→a");
});

test("after a stall there is time to serve all that has come", () => {
  const limits = { waitingMs: 3_000, standingMs: 1_000, standingWaitMs: 200, upstreamConnectionsMax: 1 };
  const scene = new Scene("a", limits).play("1 a^ 2 3 @100 1. @300 @2300 2. 4 5 @2500 3. @2900 4.");
  expect(scene.said()).toBe("a+ 1→a 2→a 3→a 4→a 5→a");
});

test("a connection that cannot be had sends the request on, and it is refused when nobody is left", () => {
  const scene = new Scene("a b").play("1 a? a-");
  expect(scene.said()).toBe("a+ b+");
  expect(scene.play("b? b-").said()).toBe("1:unreachable");
});

test("what refused is not asked again for the same request before a probe has found it good", () => {
  const scene = new Scene("a").play("1 a^ 2 a? a-");
  expect(scene.said()).toBe("a+ 1→a a+");
  expect(scene.play("@100").said()).toBe("");
  expect(scene.play("a=").said()).toBe("a+");
});

test("a connection that failed before it came is not held against an upstream", () => {
  const scene = new Scene("a").play("1 a-");
  expect(scene.said()).toBe("a+ 1:unreachable");
  expect(scene.play("2").said()).toBe("a+");
});

test("who holds connections that may be freed is not unreachable", () => {
  const scene = new Scene("a").play("1 a^ 2 a-");
  // A healthy one is asked again at once; here nothing slows it down.
  expect(scene.said()).toBe("a+ 1→a a+ a+");
  expect(scene.play("1.").said()).toBe("2→a");
});

test("a connection that never comes about at one that is suspect holds nobody", () => {
  const scene = new Scene("a b").play("1");
  expect(scene.said()).toBe("a+");
  expect(scene.play("a? b^").said()).toBe("b+ 1→b");
});

test("a suspect is tried by one connection at a time", () => {
  const scene = new Scene("a").play("a? 1 2 3");
  expect(scene.said()).toBe("a+");
  expect(scene.play("a^").said()).toBe("1→a a+");
});

test("most fail at once: after a while the crowd goes to all of them", () => {
  const scene = new Scene("a b c", { upstreamConnectionsMax: 1 }).play("1 a^ 2 b^ 3 c^ b! c! 4 5 2. 3.");
  expect(scene.said()).toBe("a+ 1→a b+ 2→b c+ 3→c");
  expect(scene.play("@400").said()).toBe("");
  expect(scene.play("@501").said()).toBe("4→b 5→c");
});

test("the table changes while requests wait", () => {
  const scene = new Scene("a").play("1 2");
  expect(scene.said()).toBe("a+ a+");
  scene.table("b");
  expect(scene.said()).toBe("b+ b+");
  expect(scene.play("b^ b^").said()).toBe("1→b 2→b");
  scene.play("3");
  scene.table("");
  expect(scene.said()).toBe("b+ 3:nothing");
  expect(scene.play("4").said()).toBe("4:nothing");
});

test("old idle connections are not for those that may not use them", () => {
  const scene = new Scene("a").play("1 a^ 1. @5000 2");
  expect(scene.said()).toBe("a+ 1→a a+");
  // Opened since it waits, so it is new enough.
  expect(scene.play("a^").said()).toBe("2→a");
});
