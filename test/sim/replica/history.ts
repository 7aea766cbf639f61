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

/** A person has accepted a loss at that instant: what came of it is another register, which begins with these values. */
interface Loss {
  at: number;
  /** Null until somebody has told. */
  values: ReadonlyMap<string, Value> | null;
}

export class History {
  #clock = 0;
  readonly #calls = new Set<Call>();
  #loss: Loss | null = null;

  get calls(): Call[] {
    return [...this.#calls];
  }

  /** What each has to be linearizable by itself: before and after a loss, if there was one. */
  get eras(): Call[][] {
    const loss = this.#loss;
    if (!loss) return [this.calls];
    if (!loss.values) throw new Error("nobody has told what was left after the loss");
    return [this.#before(loss), this.#after({ ...loss, values: loss.values })];
  }

  lose(): void {
    this.#loss = { at: ++this.#clock, values: null };
    // Between the first values and all that is called or returns from now on.
    this.#clock++;
  }

  get awaitsRest(): boolean {
    return this.#loss !== null && this.#loss.values === null;
  }
  /** What is left after the loss, as whoever goes on has it. */
  left(values: ReadonlyMap<string, Value>): void {
    this.#loss!.values = values;
  }

  /** What was under way at the loss may have taken effect before it. */
  #before({ at }: Loss): Call[] {
    return this.calls.flatMap((each) => {
      if (each.returned < at) return [each];
      return each.called < at && each.action.kind !== "read" ? [{ ...each, returned: Infinity }] : [];
    });
  }

  /** … or may do so after it; or both, as its record may be among those that are lost. */
  #after({ at, values }: Loss & { values: ReadonlyMap<string, Value> }): Call[] {
    const calls: Call[] = [];
    const first = new Set<Value>();
    for (const [key, value] of values) {
      first.add(value);
      const action = { kind: "write", value } as const;
      if (value !== null)
        calls.push({ client: "what is left", key, action, called: at, returned: at + 1, at: "" });
    }
    for (const each of this.calls) {
      if (each.called > at) calls.push(each);
      else if (each.returned > at && each.action.kind !== "read" && !first.has(each.action.value)) {
        // Revisions are given out anew: what it expected may be something else now.
        const action = { kind: "write", value: each.action.value } as const;
        calls.push({ ...each, action, called: at + 1, returned: Infinity });
      }
    }
    return calls;
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
