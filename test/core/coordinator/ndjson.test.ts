import { expect, test } from "bun:test";
import { linesOf, ndjson, type LineSource } from "../../../core/coordinator/ndjson.ts";
import { Mailbox } from "../../../core/coordinator/mailbox.ts";
import { DvsError } from "../../../core/errors.ts";
import { StoreError } from "../../../core/store/store.ts";
import { readLines } from "../../../core/transport/ndjson.ts";
import { streamFacts } from "./stream-lab.ts";

const never = new AbortController().signal;

/** A source that waits for what is put. */
function waiting(): LineSource & { mailbox: Mailbox<unknown>; stopped: number; finished: boolean } {
  const mailbox = new Mailbox<unknown>({ max: 10 });
  const state = { mailbox, stopped: 0, finished: false };
  async function* lines() {
    try {
      for (;;) {
        const value = await mailbox.take(60_000);
        if (value === null) return;
        yield value;
      }
    } finally {
      state.finished = true;
    }
  }
  const stop = () => {
    state.stopped++;
    mailbox.close();
  };
  return Object.assign(state, { lines: lines(), stop });
}

async function linesIn(response: Response): Promise<unknown[]> {
  const lines: unknown[] = [];
  for await (const line of readLines(response.body)) lines.push(JSON.parse(line));
  return lines;
}

test("one document a line, and an empty line for a keep-alive", async () => {
  const text = await ndjson(linesOf([{ a: 1 }, undefined, "x\ny"]), never).text();
  expect(text).toBe('{"a":1}\n\n"x\\ny"\n');
});

test("a client that leaves ends a source that waits", async () => {
  const source = waiting();
  const reader = ndjson(source, never).body!.getReader();
  source.mailbox.put(1);
  await reader.read();
  await reader.cancel();
  await source.lines.next();
  expect(source).toMatchObject({ stopped: 1, finished: true });
});

test("a client that leaves before it has read anything ends the source too", async () => {
  const source = waiting();
  await ndjson(source, never).body!.cancel();
  await source.lines.next();
  expect(source.stopped).toBe(1);
});

test("the end of the coordinator ends the stream properly, with what came before", async () => {
  const source = waiting();
  const end = new AbortController();
  const response = ndjson(source, end.signal);
  source.mailbox.put(1);
  const lines = linesIn(response);
  setTimeout(() => end.abort(), 20);
  expect(await lines).toEqual([1]);
  expect(source.stopped).toBe(1);
});

test("a stream that is opened while the coordinator ends is empty", async () => {
  const source = waiting();
  expect(await linesIn(ndjson(source, AbortSignal.abort()))).toEqual([]);
  expect(source.stopped).toBe(1);
});

test("an error in the middle is the last line, with its own code, also from the store", async () => {
  for (const [thrown, code] of [
    [new DvsError("NOT_FOUND", "no such thing"), "NOT_FOUND"],
    [new StoreError("NO_SPACE", "full"), "EXHAUSTED"],
    [new TypeError("defect"), "INTERNAL"],
  ] as const) {
    async function* lines() {
      yield 1;
      throw thrown;
    }
    let stopped = 0;
    const [first, last] = await linesIn(ndjson({ lines: lines(), stop: () => stopped++ }, never));
    expect(first).toBe(1);
    expect(last).toMatchObject({ error: { code, message: thrown.message } });
    expect(stopped).toBe(1);
  }
});

for (const [fact, run] of Object.entries(streamFacts)) test(fact, run);
