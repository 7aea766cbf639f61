/**
 * What clients of a simulated instance asked for and were told, in the order of a clock of its own: each call and each
 * return is an instant, so that "before" is never a matter of rounding.
 *
 * A call ends in one of three ways: with a result; not carried out for sure (it leaves no trace then); or never, as
 * far as its client knows: from its call on it may take effect at any time, once, or not at all.
 */

/** Every value is written by one call only; null: the key does not exist. */
export type Value = string | null;

export type Action =
  | { kind: "read"; value: Value }
  /** Null: deletes. */
  | { kind: "write"; value: Value }
  /** Sets `value` iff the key holds `expected`; `actual` is what it held (equal to `expected`: it was set). */
  | { kind: "cas"; expected: Value; value: string; actual: Value };

export interface Call {
  client: string;
  key: string;
  action: Action;
  called: number;
  /** Infinity: its outcome is unknown. What its action says of a result counts for nothing then. */
  returned: number;
  /** Where it was answered; for people who read a failure. */
  at: string;
}

export class History {
  #clock = 0;
  readonly #calls = new Set<Call>();

  get calls(): Call[] {
    return [...this.#calls];
  }

  begin(client: string, key: string, action: Action): Call {
    const call: Call = { client, key, action, called: ++this.#clock, returned: Infinity, at: "" };
    this.#calls.add(call);
    return call;
  }

  /** `result`: what was read, or what a compare-and-set found. */
  end(call: Call, at: string, result?: Value): void {
    call.returned = ++this.#clock;
    call.at = at;
    const { action } = call;
    if (action.kind === "read") action.value = result ?? null;
    else if (action.kind === "cas") action.actual = result ?? null;
  }

  /** It was not carried out and will not be. */
  refuse(call: Call): void {
    this.#calls.delete(call);
  }
}
