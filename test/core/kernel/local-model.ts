/**
 * What the calls between processes of one kernel mean, as simply as it can be said: lists that are searched from the
 * front. The kernel is compared with it.
 */
export type Outcome =
  "OK" | "TIMED_OUT" | "CANCELLED" | "OUTCOME_UNKNOWN" | "DIED" | "NOT_BOUND" | "NOT_WAITING";

export interface ModelCall {
  kind: "send" | "request" | "receive";
  /** Whose call it is. */
  by: number;
  /** Of a message: to whom. Of a receive: from whom; −1: from anybody. */
  other: number;
  body: unknown;
  requestsOnly: boolean;
  state: "waiting" | "open" | "done";
  outcome: Outcome | null;
  /** Of a request: the reply. Of a receive: what it took. */
  result: unknown;
  /** Not before the first tick: then the time by which it is over. */
  timeoutMs: number | null;
  deadlineMs: number | null;
}

interface ModelProc {
  bound: boolean;
  mailbox: ModelCall[];
  receives: ModelCall[];
  /** Source → count, in the order of the first. */
  notifications: [number, number][];
}

export class LocalModel {
  readonly procs: ModelProc[];
  readonly calls: ModelCall[] = [];

  constructor(count: number) {
    this.procs = Array.from({ length: count }, () => ({
      ...{ bound: true, mailbox: [], receives: [], notifications: [] },
    }));
  }

  message(
    kind: "send" | "request",
    by: number,
    other: number,
    body: unknown,
    timeoutMs: number | null,
  ): ModelCall {
    const call = this.#call(kind, by, other, body, false, timeoutMs);
    const to = this.procs[other]!;
    if (!this.procs[by]!.bound) return end(call, "NOT_BOUND");
    if (!to.bound) return end(call, "DIED");
    const receive = to.receives.find((waiting) => accepts(waiting, call));
    if (receive) {
      drop(to.receives, receive);
      this.#take(call, receive);
    } else to.mailbox.push(call);
    return call;
  }

  receive(by: number, other: number, requestsOnly: boolean, timeoutMs: number | null): ModelCall {
    const call = this.#call("receive", by, other, null, requestsOnly, timeoutMs);
    const proc = this.procs[by]!;
    if (!proc.bound) return end(call, "NOT_BOUND");
    // Whoever waits already comes first, also where it would not take what is there.
    if (proc.receives.length > 0) {
      proc.receives.push(call);
      return call;
    }
    const notified = proc.notifications.findIndex(([source]) => other === -1 || source === other);
    if (!requestsOnly && notified >= 0) {
      const [notification] = proc.notifications.splice(notified, 1);
      return end(call, "OK", { notifiedBy: notification![0], count: notification![1] });
    }
    const message = proc.mailbox.find((waiting) => accepts(call, waiting));
    if (!message) {
      proc.receives.push(call);
      return call;
    }
    drop(proc.mailbox, message);
    this.#take(message, call);
    return call;
  }

  reply(request: ModelCall, body: unknown): Outcome {
    if (request.state !== "open" || request.outcome !== null) return "NOT_WAITING";
    end(request, "OK", body);
    return "OK";
  }

  notify(by: number, other: number): Outcome {
    if (!this.procs[by]!.bound || !this.procs[other]!.bound)
      return this.procs[by]!.bound ? "DIED" : "NOT_BOUND";
    const to = this.procs[other]!;
    const pending = to.notifications.find(([source]) => source === by);
    const receive = to.receives.find((of) => !of.requestsOnly && (of.other === -1 || of.other === by));
    if (pending) pending[1]++;
    else if (receive) {
      drop(to.receives, receive);
      end(receive, "OK", { notifiedBy: by, count: 1 });
    } else to.notifications.push([by, 1]);
    return "OK";
  }

  giveUp(call: ModelCall, why: "TIMED_OUT" | "CANCELLED"): void {
    if (call.outcome !== null) return;
    if (call.kind === "receive") drop(this.procs[call.by]!.receives, call);
    else drop(this.procs[call.other]!.mailbox, call);
    end(call, call.state === "open" ? "OUTCOME_UNKNOWN" : why);
  }

  unbind(which: number): void {
    const proc = this.procs[which]!;
    if (!proc.bound) return;
    proc.bound = false;
    for (const receive of proc.receives.splice(0)) end(receive, "NOT_BOUND");
    for (const call of this.calls) {
      if (call.kind === "receive" || call.outcome !== null) continue;
      if (call.other === which) {
        drop(proc.mailbox, call);
        end(call, "DIED");
      } else if (call.by === which) this.giveUp(call, "CANCELLED");
    }
  }

  tick(nowMs: number): void {
    for (const call of this.calls) {
      if (call.deadlineMs !== null && call.deadlineMs <= nowMs) this.giveUp(call, "TIMED_OUT");
      if (call.timeoutMs !== null) call.deadlineMs ??= nowMs + Math.max(1, call.timeoutMs);
    }
  }

  #take(message: ModelCall, receive: ModelCall): void {
    if (message.kind === "send") end(message, "OK");
    else message.state = "open";
    end(receive, "OK", message);
  }

  #call(
    kind: ModelCall["kind"],
    by: number,
    other: number,
    body: unknown,
    requestsOnly: boolean,
    timeoutMs: number | null,
  ): ModelCall {
    const call: ModelCall = {
      ...{ kind, by, other, body, requestsOnly, timeoutMs },
      ...{ state: "waiting", outcome: null, result: null, deadlineMs: null },
    };
    this.calls.push(call);
    return call;
  }
}

function accepts(receive: ModelCall, message: ModelCall): boolean {
  const isFrom = receive.other === -1 || receive.other === message.by;
  return isFrom && (!receive.requestsOnly || message.kind === "request");
}
function end(call: ModelCall, outcome: Outcome, result: unknown = null): ModelCall {
  call.state = "done";
  call.outcome = outcome;
  call.result = result;
  return call;
}
function drop(list: ModelCall[], call: ModelCall): void {
  const at = list.indexOf(call);
  if (at >= 0) list.splice(at, 1);
}
