/** An agent's link with several coordinators: it leaves the one that does not answer heartbeats, stream and all. */
import { expect, setDefaultTimeout, test } from "bun:test";
import type { CoordinatorLink } from "../../../core/agent/coordinator-link.ts";
import { AgentLink } from "../../../core/agent/link.ts";
import type { Report } from "../../../core/agent-protocol.ts";
import { DvsError } from "../../../core/errors.ts";

setDefaultTimeout(30_000);

test("one that hangs with its stream open is left with the first heartbeat that it does not answer", async () => {
  const addresses = ["hung:1", "acting:1"];
  let current = "hung:1";
  const streams: string[] = [];
  const beats: string[] = [];
  const done = new AbortController();
  const link = {
    address: () => current,
    rotate(from: string) {
      if (from === current) current = addresses.find((a) => a !== from)!;
    },
    async *messages(signal: AbortSignal) {
      streams.push(current);
      yield { type: "ping" as const };
      // Open, and silent for good.
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new DvsError("UNAVAILABLE", "aborted")));
      });
    },
    async heartbeat() {
      beats.push(current);
      if (current === "hung:1") throw new DvsError("TIMEOUT", "no answer");
      return { reportWanted: false, coordinators: addresses };
    },
  } as unknown as CoordinatorLink;
  const told: (readonly string[])[] = [];
  const reached = Promise.withResolvers<void>();
  const arrived = () => {
    if (streams.includes("acting:1") && told.length > 0) reached.resolve();
  };
  const agent = new AgentLink({
    coordinator: link,
    incarnation: "i1",
    report: () => ({ containers: [], replicas: [] }) as unknown as Report,
    onOpen: () => arrived(),
    onMessage: () => undefined,
    onCoordinators(all) {
      told.push(all);
      arrived();
    },
    log: () => undefined,
    signal: done.signal,
  });
  const running = agent.run();
  // The stream alone would be given up after five seconds of silence.
  await reached.promise;
  done.abort();
  await running;
  expect(streams).toEqual(["hung:1", "acting:1"]);
  expect(beats[0]).toBe("hung:1");
  expect(told[0]).toEqual(addresses);
});
