/** Whatever processes of one kernel do, each of their calls ends as the simple model of them says. */
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import type { Call } from "../../../core/kernel/call.ts";
import type { Received } from "../../../core/kernel/message.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { kernelTickMs } from "../../../core/limits.ts";
import { Lab } from "./lab.ts";
import { LocalModel, type ModelCall } from "./local-model.ts";

const processes = 3;
const who = fc.nat(processes - 1);
const timeoutMs = fc.option(fc.constantFrom(1, 15, 40, 3_000), { freq: 2 });

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom("send", "request"), by: who, to: who, timeoutMs }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      ...{ do: fc.constant("receive"), by: who, from: fc.oneof(fc.constant(-1), who) },
      ...{ requestsOnly: fc.boolean(), timeoutMs },
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("reply"), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("notify"), by: who, to: who }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel"), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("tick"), ticks: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("unbind"), by: who }) },
) as fc.Arbitrary<Step>;

type Step =
  | { do: "send" | "request"; by: number; to: number; timeoutMs: number | null }
  | { do: "receive"; by: number; from: number; requestsOnly: boolean; timeoutMs: number | null }
  | { do: "reply" | "cancel"; pick: number }
  | { do: "notify"; by: number; to: number }
  | { do: "tick"; ticks: number }
  | { do: "unbind"; by: number };

/** The kernel and the model side by side. */
class Pair {
  readonly lab = new Lab(1);
  readonly kernel = this.lab.kernels[0]!;
  readonly procs: Proc[] = Array.from({ length: processes }, () => this.kernel.bind());
  readonly model = new LocalModel(processes);
  readonly calls: Call[] = [];

  run(of: Step): void {
    const { kernel, model, procs, calls } = this;
    const { machine } = kernel;
    switch (of.do) {
      case "send":
      case "request": {
        const body = calls.length;
        const call = of.do === "send" ? "send" : "sendrec";
        calls.push(kernel[call](procs[of.by]!, procs[of.to]!, body, of.timeoutMs ?? undefined));
        model.message(of.do, of.by, of.to, body, of.timeoutMs);
        break;
      }
      case "receive": {
        const from = of.from < 0 ? -1 : procs[of.from]!.endpoint;
        calls.push(machine.receive(procs[of.by]!, from, of.requestsOnly, of.timeoutMs ?? undefined));
        model.receive(of.by, of.from, of.requestsOnly, of.timeoutMs);
        break;
      }
      case "reply": {
        const at = this.#pick(of.pick, (call) => call.kind === "request");
        if (at < 0) break;
        const request = calls[at]!;
        const proc = procs[model.calls[at]!.other]!;
        expect(kernel.reply(proc, request, `to ${at}`)).toBe(model.reply(model.calls[at]!, `to ${at}`));
        break;
      }
      case "notify":
        expect(machine.notify(procs[of.by]!, procs[of.to]!.endpoint)).toBe(model.notify(of.by, of.to));
        break;
      case "cancel": {
        const at = this.#pick(of.pick, () => true);
        if (at < 0) break;
        machine.cancel(procs[model.calls[at]!.by]!, calls[at]!);
        model.giveUp(model.calls[at]!, "CANCELLED");
        break;
      }
      case "tick":
        for (let i = 0; i < of.ticks; i++) {
          this.lab.run(kernelTickMs);
          model.tick(this.lab.nowMs);
        }
        break;
      case "unbind":
        machine.unbind(procs[of.by]!);
        model.unbind(of.by);
    }
  }

  check(): void {
    for (const [i, call] of this.calls.entries()) {
      const expected = this.model.calls[i]!;
      expect({ i, outcome: call.outcome, result: this.#resultOf(call) }).toEqual({
        ...{ i, outcome: expected.outcome },
        result: this.#expectedOf(expected),
      });
    }
    for (const [i, proc] of this.procs.entries()) {
      const own = this.model.calls.filter((c) => c.by === i && c.kind !== "receive" && c.outcome === null);
      expect(proc.underWay).toBe(own.length);
      expect(proc.receivers.length).toBe(this.model.procs[i]!.receives.length);
      if (proc.bound) expect(proc.mailbox.length).toBe(this.model.procs[i]!.mailbox.length);
    }
  }

  #pick(n: number, which: (call: ModelCall) => boolean): number {
    const candidates = [...this.model.calls.keys()].filter((i) => which(this.model.calls[i]!));
    return candidates.length === 0 ? -1 : candidates[n % candidates.length]!;
  }

  #resultOf({ outcome, result }: Call): unknown {
    if (outcome !== "OK" || result === null) return null;
    const { isNotification, source, body } = result as Received;
    if (!isNotification) return body;
    return { notifiedBy: this.procs.findIndex(({ endpoint }) => endpoint === source), count: body };
  }

  #expectedOf({ kind, result }: ModelCall): unknown {
    const isMessage = kind === "receive" && result !== null && "kind" in (result as object);
    return isMessage ? (result as ModelCall).body : result;
  }
}

test("every call of a kernel's processes ends as the model says, whatever they do", () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 120, size: "max" }), (steps) => {
      const pair = new Pair();
      for (const of of steps) {
        pair.run(of);
        pair.check();
      }
    }),
    { numRuns: 150 },
  );
});
