import { expect, test } from "bun:test";
import { instanceLog, splitLog } from "../../../core/coordinator/log-lines.ts";
import { Sessions } from "../../../core/coordinator/sessions.ts";
import { codeOf, until } from "./lab.ts";

const encoder = new TextEncoder();
const request = { uid: "u", tailLines: 10, follow: false };

function streamOf(...chunks: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(encoder.encode(chunk));
      controller.close();
    },
  });
}

async function all<T>(from: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of from) if (value !== undefined) values.push(value);
  return values;
}

const split = (stream: ReadableStream<Uint8Array>, max?: number) =>
  all(splitLog(stream, new AbortController().signal, max));

test("lines are what stands between line ends, wherever the chunks were cut; a last one without an end counts", async () => {
  expect(await split(streamOf("a\nb", "c\n", "\n", "d"))).toEqual(["a", "bc", "", "d"]);
  expect(await split(streamOf("a\n"))).toEqual(["a"]);
  expect(await split(streamOf())).toEqual([]);
});

test("a character that was cut in two is whole", async () => {
  const bytes = encoder.encode("grün\n");
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  expect(await split(stream)).toEqual(["grün"]);
});

test("a line of any length is held to pieces", async () => {
  expect(await split(streamOf("abcdefg", "hij\nk"), 4)).toEqual(["abcd", "efgh", "ij", "k"]);
  expect(await split(streamOf("abcd\n"), 4)).toEqual(["abcd"]);
});

test("what came before a connection broke is told, then that it broke", async () => {
  const sessions = new Sessions();
  const source = instanceLog(sessions, [{ node: "n-1", nodeName: "n1" }], request);
  const agent = sessions.listen("n-1", null);
  const lines = all(source.lines as AsyncGenerator<{ node: string; line: string }>);
  await agent.lines.next();
  const { value } = (await agent.lines.next()) as { value: { id: string } };
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (sent++ === 0) controller.enqueue(encoder.encode("one\ntw"));
      else controller.error(new Error("ECONNRESET"));
    },
  });
  await sessions.accept("n-1", value.id, body);
  expect((await lines).map((l) => l.line)).toEqual([
    "one",
    "tw",
    expect.stringContaining("connection to the node broke"),
  ]);
});

test("a node that is not connected is a line, and the others go on", async () => {
  const sessions = new Sessions();
  const source = instanceLog(
    sessions,
    [
      { node: "n-1", nodeName: "n1" },
      { node: "n-2", nodeName: "n2" },
    ],
    request,
  );
  const agent = sessions.listen("n-2", null);
  const lines = all(source.lines as AsyncGenerator<{ node: string; line: string }>);
  await agent.lines.next();
  const { value } = (await agent.lines.next()) as { value: { id: string } };
  await sessions.accept("n-2", value.id, streamOf("hi\n"));
  expect(await lines).toEqual([
    { node: "n1", line: expect.stringContaining("not connected") },
    { node: "n2", line: "hi" },
  ]);
});

test("a slow reader makes the node wait: what lies between them is bounded", async () => {
  const sessions = new Sessions();
  const source = instanceLog(sessions, [{ node: "n-1", nodeName: "n1" }], request);
  const agent = sessions.listen("n-1", null);
  const first = source.lines.next();
  await agent.lines.next();
  const { value } = (await agent.lines.next()) as { value: { id: string } };
  let pulled = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(encoder.encode(`line ${++pulled}\n`));
    },
  });
  const taken = sessions.accept("n-1", value.id, body);
  await first;
  let before = -1;
  await until(async () => {
    const still = pulled === before;
    before = pulled;
    await new Promise((resolve) => setTimeout(resolve, 20));
    return still;
  });
  expect(pulled).toBeLessThan(400);
  // And a reader that leaves lets the node go.
  source.stop();
  await source.lines.return(undefined);
  await taken;
});

test("a client that left before the node answered leaves no stream behind", async () => {
  const sessions = new Sessions();
  const source = instanceLog(sessions, [{ node: "n-1", nodeName: "n1" }], { ...request, follow: true });
  const agent = sessions.listen("n-1", null);
  const first = source.lines.next();
  await agent.lines.next();
  const { value } = (await agent.lines.next()) as { value: { id: string } };
  source.stop();
  await first;
  expect(await codeOf(sessions.accept("n-1", value.id, streamOf("late\n")))).toBe("NOT_FOUND");
});
