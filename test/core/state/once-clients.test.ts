import { expect, test } from "bun:test";
import { onceClientMs } from "../../../core/limits.ts";
import type { WriteOutcome } from "../../../core/replica/sink.ts";
import { OnceClients } from "../../../core/state/once-clients.ts";

/** A primary with sessions of these clients, each of which has come so far. */
function primary(sessions: Record<string, number>) {
  const progress = new Map(Object.entries(sessions));
  const asked: string[] = [];
  let outcome: WriteOutcome = { type: "ok", index: 1, result: new Uint8Array(0) };
  const clients = new OnceClients({
    progress: () => progress,
    removeClient: (name, done) => {
      asked.push(name);
      if (outcome.type === "ok") progress.delete(name);
      done(outcome);
    },
  });
  return { clients, progress, asked, refuse: (is: WriteOutcome | null) => void (outcome = is ?? outcome) };
}

test("names that were used once are forgotten their time after, whichever replica they were used at", () => {
  const { clients, progress, asked } = primary({ "once-a": 2, kernel: 2 });
  clients.review(1_000);
  progress.set("once-b", 2);
  clients.review(2_000);
  clients.review(1_000 + onceClientMs - 1);
  expect(asked).toEqual([]);
  clients.review(1_000 + onceClientMs);
  expect(asked).toEqual(["once-a"]);
  clients.review(2_000 + onceClientMs);
  expect(asked).toEqual(["once-a", "once-b"]);
  expect([...progress.keys()]).toEqual(["kernel"]);
});

test("one that goes on stays", () => {
  const { clients, progress, asked } = primary({ "once-a": 2 });
  clients.review(0);
  progress.set("once-a", 3);
  clients.review(onceClientMs - 1);
  clients.review(onceClientMs);
  expect(asked).toEqual([]);
  clients.review(2 * onceClientMs - 1);
  expect(asked).toEqual(["once-a"]);
});

test("another primary counts anew, and a removal that came to nothing is tried again", () => {
  const { clients, asked, refuse } = primary({ "once-a": 2 });
  clients.review(0);
  clients.reset();
  clients.review(onceClientMs);
  expect(asked).toEqual([]);
  refuse({ type: "uncertain" });
  clients.review(2 * onceClientMs);
  clients.review(3 * onceClientMs);
  clients.review(4 * onceClientMs);
  expect(asked).toEqual(["once-a", "once-a"]);
});
