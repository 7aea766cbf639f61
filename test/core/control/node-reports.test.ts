import { expect, test } from "bun:test";
import type { Report } from "../../../core/agent-protocol.ts";
import { NodeReports } from "../../../core/control/node-reports.ts";
import { container, emptyReport, failedPort, openPort } from "./bench.ts";

function reports() {
  const index = new NodeReports();
  const beat = (incarnation: string, sequence: number, report?: Partial<Report>, clockMs = 0) =>
    index.heartbeat(
      "n1",
      { incarnation, sequence, report: report && { ...emptyReport, ...report } },
      clockMs,
    );
  return { index, beat };
}

const ready = container("u-a", "n1");
const starting = container("u-a", "n1", { state: "starting", port: 0 });

test("a heartbeat that was overtaken by a later one is no news and no sign of life", () => {
  const { index, beat } = reports();
  beat("a", 2, { containers: [ready] });
  expect(beat("a", 1, { containers: [starting] }).fresh).toBe(false);
  expect(beat("a", 2, { containers: [starting] }).fresh).toBe(false);
  expect(index.container("u-a", "n1")?.state).toBe("ready");
});

test("what still arrives from an agent process that was replaced is ignored", () => {
  const { index, beat } = reports();
  beat("a", 5, { containers: [starting] });
  beat("b", 1, { containers: [ready] });
  expect(beat("a", 6, { containers: [starting] }).fresh).toBe(false);
  expect(index.container("u-a", "n1")?.state).toBe("ready");
  expect(index.wanted("n1", "a")).toBe(false);
  expect(index.wanted("n1", "b")).toBe(false);
});

test("a report is wanted of an agent process that has not sent one", () => {
  const { index, beat } = reports();
  expect(index.wanted("n1", "a")).toBe(true);
  beat("a", 1);
  expect(index.wanted("n1", "a")).toBe(true);
  beat("a", 2, {});
  expect(index.wanted("n1", "a")).toBe(false);
});

test("an upstream is an incarnation that was ready, until its death or its successor is reported", () => {
  const { index, beat } = reports();
  beat("a", 1, { containers: [starting] });
  expect(index.upstream("u-a", "n1")).toBeUndefined();
  beat("a", 2, { containers: [ready] });
  expect(index.upstream("u-a", "n1")).toEqual({ incarnation: ready.incarnation, port: ready.port });
  beat("a", 3, { containers: [{ ...ready, state: "stopping" }] });
  expect(index.upstream("u-a", "n1")).toBeDefined();
  beat("a", 4, { containers: [{ ...ready, state: "backoff", port: 0 }] });
  expect(index.upstream("u-a", "n1")).toBeUndefined();
  beat("a", 5, { containers: [ready] });
  beat("a", 6, { containers: [{ ...starting, incarnation: "next" }] });
  expect(index.upstream("u-a", "n1")).toBeUndefined();
  beat("a", 7, { containers: [ready] });
  expect([...beat("a", 8, {}).uids]).toEqual(["u-a"]);
  expect(index.upstream("u-a", "n1")).toBeUndefined();
  expect(index.readyOnce("u-a", "n1")).toBe(false);
});

test("a new agent process brings no container down before it has spoken", () => {
  const { index, beat } = reports();
  beat("a", 1, { containers: [ready] });
  beat("b", 1);
  expect(index.container("u-a", "n1")).toBeUndefined();
  expect(index.upstream("u-a", "n1")).toBeDefined();
  beat("b", 2, {});
  expect(index.upstream("u-a", "n1")).toBeUndefined();
});

test("of a container on its way out and its successor, the successor counts", () => {
  const { index, beat } = reports();
  const old = { ...ready, incarnation: "old", state: "stopping" as const };
  beat("a", 1, { containers: [ready, old] });
  expect(index.container("u-a", "n1")?.incarnation).toBe(ready.incarnation);
  beat("a", 2, { containers: [old, ready] });
  expect(index.container("u-a", "n1")?.incarnation).toBe(ready.incarnation);
});

test("only what decides or shows something counts as a change", () => {
  const { beat } = reports();
  beat("a", 1, { containers: [ready], ports: [openPort(80, "u-a")] });
  const same = beat("a", 2, {
    containers: [{ ...ready, requests: 9 }],
    ports: [openPort(80, "u-a")],
    diskFreeBytes: 7,
  });
  expect([same.uids.size, same.node, same.revision]).toEqual([0, false, false]);
  expect([...beat("a", 3, { containers: [ready], ports: [failedPort(80, "u-a")] }).uids]).toEqual(["u-a"]);
  expect([...beat("a", 4, { containers: [ready] }).uids]).toEqual(["u-a"]);
});

test("a port has failed since it began to, for the same instance and without a break", () => {
  const { index, beat } = reports();
  const failedMs = (uid: string, clockMs: number) => index.portFailedMs("n1", 80, uid, clockMs);
  beat("a", 1, { ports: [failedPort(80, "u-a")] }, 1_000);
  beat("a", 2, { ports: [failedPort(80, "u-a")] }, 1_500);
  expect(failedMs("u-a", 3_000)).toBe(2_000);
  expect(failedMs("u-b", 3_000)).toBe(0);
  beat("a", 3, { ports: [failedPort(80, "u-b")] }, 2_000);
  expect(failedMs("u-b", 3_000)).toBe(1_000);
  beat("a", 4, { ports: [openPort(80, "u-b")] }, 3_000);
  expect(failedMs("u-b", 9_000)).toBe(0);
});

test("nothing is remembered of a node that is gone", () => {
  const { index, beat } = reports();
  beat("a", 1, { containers: [ready], ports: [openPort(80, "u-a")] });
  expect([...index.removeNode("n1")]).toEqual(["u-a"]);
  expect(index.containersOf("u-a").size).toBe(0);
  expect(index.wanted("n1", "a")).toBe(true);
});
