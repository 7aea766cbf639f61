/** A process as its own code sees it: promises, errors and what is refused before it reaches the kernel. */
import { afterAll, expect, test } from "bun:test";
import { CallError } from "../../../core/kernel/call-error.ts";
import { endpointOf } from "../../../core/kernel/endpoint.ts";
import { Kernel } from "../../../core/kernel/kernel.ts";
import { MemoryRecordLog } from "../../../core/kernel/memory-record-log.ts";
import type { Outcome } from "../../../core/kernel/outcome.ts";

const kernel = new Kernel({
  member: {
    ...{ incarnation: "i1", node: "n1", cpu: 0, unix: "", host: "", port: 0 },
    ...{ protocol: 1, protocolMin: 1 },
  },
  log: new MemoryRecordLog(),
  uptimeMs: () => performance.now(),
});
const running = kernel.run();
afterAll(async () => {
  kernel.stop();
  await running;
});

const message = { type: 1, body: null };
async function outcomeOf(call: Promise<unknown>): Promise<Outcome> {
  try {
    await call;
    return "OK";
  } catch (e) {
    if (e instanceof CallError) return e.outcome;
    throw e;
  }
}

async function mistakeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => "none",
    (e: Error) => e.message,
  );
}

test("a server receives and replies, its callers await", async () => {
  const [client, server] = [await kernel.bind(), await kernel.bind({ name: "adds" })];
  const serving = (async () => {
    for (let sum = 0, i = 0; i < 3; i++) {
      const request = await server.receive();
      server.reply(request, { type: 2, body: (sum += request.body as number) });
    }
  })();
  const to = await client.waitForName("adds");
  expect(to).toBe(server.endpoint);
  expect(client.lookup("adds")).toBe(to);
  const answers = await Promise.all([1, 2, 3].map((body) => client.sendrec(to, { type: 1, body })));
  expect(answers.map(({ body }) => body)).toEqual([1, 3, 6]);
  await serving;
  expect((await client.getInfo(to)).name).toBe("adds");
});

test("a call that cannot be carried out throws what it was, to whom, and why", async () => {
  const [a, b] = [await kernel.bind(), await kernel.bind()];
  b.unbind();
  const error = await a.sendrec(b.endpoint, message).catch((e: CallError) => e);
  expect(error).toMatchObject({ name: "CallError", outcome: "DIED", code: "UNAVAILABLE" });
  expect((error as CallError).message).toMatch(
    /^Cannot call endpoint \d+:\d+: the process at the other end has died/,
  );
  expect(() => a.notify(endpointOf(60_000, 1))).toThrow("(NOT_BOUND)");
  expect(await outcomeOf(a.send(a.endpoint, { type: -1, body: null }))).toBe("BAD_MESSAGE");
});

test("a signal cancels each call that waits", async () => {
  const [a, b] = [await kernel.bind(), await kernel.bind()];
  const stopping = new AbortController();
  const options = { signal: stopping.signal };
  const taken = a.sendrec(b.endpoint, message, options);
  expect((await b.receive()).isRequest).toBe(true);
  const calls = [
    a.send(b.endpoint, message, options),
    a.sendrec(b.endpoint, message, options),
    Promise.resolve(a.receive(b.endpoint, options)),
    Promise.resolve(a.receiveRequest(options)),
    a.waitForName("nobody's", options),
    a.waitForUnbind(b.endpoint, options),
  ];
  const outcomes = Promise.all([taken, ...calls].map(outcomeOf));
  stopping.abort();
  expect(await outcomes).toEqual(["OUTCOME_UNKNOWN", ...calls.map(() => "CANCELLED" as const)]);
  expect(await outcomeOf(a.sendrec(b.endpoint, message, options))).toBe("CANCELLED");
  expect(kernel.machine.table.find(b.endpoint)!.mailbox.length).toBe(0);
});

test("a signal that is not used leaves nothing behind, and one that comes late changes nothing", async () => {
  const [a, b] = [await kernel.bind(), await kernel.bind()];
  const stopping = new AbortController();
  const call = a.sendrec(b.endpoint, message, { signal: stopping.signal });
  b.reply(await b.receive(), { type: 2, body: "done" });
  expect((await call).body).toBe("done");
  stopping.abort();
  expect(a.proc.underWay).toBe(0);
});

test("what no call can mean is refused with the mistake", async () => {
  const a = await kernel.bind();
  for (const timeoutMs of [-1, NaN]) {
    expect(() => a.send(a.endpoint, message, { timeoutMs })).toThrow(`Cannot wait for ${timeoutMs} ms`);
    expect(() => a.receive(a.endpoint, { timeoutMs })).toThrow("0 or more milliseconds");
  }
  expect(a.proc.underWay).toBe(0);
  const bytes = new Uint8Array(4);
  const floats = new Float64Array(4) as unknown as Uint8Array;
  expect(await mistakeOf(a.read(a.endpoint, 1, -1, bytes))).toContain("offset -1");
  expect(await mistakeOf(a.read(a.endpoint, NaN, 0, bytes))).toContain("grant NaN");
  expect(await mistakeOf(a.write(a.endpoint, 1, 0, floats))).toContain("no Uint8Array");
  expect(() => a.grant({ buffer: floats, access: "read" })).toThrow("no Uint8Array");
  expect(await mistakeOf(kernel.bind({ callsMax: 0 }))).toContain("0 calls at a time");
  expect(await mistakeOf(kernel.bind({ name: "" }))).toContain("a name of 0 characters: 1 to 255");
  expect(await mistakeOf(kernel.bind({ name: "x".repeat(256) }))).toContain("a name of 256 characters");
});

test("copies through grants, until they are revoked", async () => {
  const [a, b] = [await kernel.bind(), await kernel.bind()];
  const buffer = new Uint8Array([1, 2, 3, 4]);
  const grant = b.grant({ buffer, to: a.endpoint, access: "both" });
  const into = new Uint8Array(2);
  await a.read(b.endpoint, grant, 1, into);
  expect([...into]).toEqual([2, 3]);
  await a.write(b.endpoint, grant, 3, new Uint8Array([9]));
  expect([...buffer]).toEqual([1, 2, 3, 9]);
  b.revoke(grant);
  expect(await outcomeOf(a.read(b.endpoint, grant, 0, into))).toBe("NO_GRANT");
});
