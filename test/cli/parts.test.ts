import { describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultName } from "../../cli/agent-config.ts";
import { parseAddresses } from "../../cli/connection.ts";
import { readContext, writeContext } from "../../cli/context.ts";
import { isAlive, readDevCluster, writeDevCluster } from "../../cli/dev-cluster.ts";
import { formatDuration, parseDuration } from "../../cli/duration.ts";
import { bytes } from "../../cli/format.ts";
import type { Io } from "../../cli/io.ts";
import { parseLabels, parseOptions } from "../../cli/key-values.ts";
import { readableName } from "../../cli/readable-name.ts";
import { writeTable } from "../../cli/table.ts";
import { Name } from "../../core/names.ts";
import { nearest } from "../../core/nearest.ts";
import { processStartTime } from "../../core/platform/uptime.ts";

function table(columns: number, rows: { name: string; n: number; why: string }[]): string[] {
  let text = "";
  const io = {
    stdout: {
      write: (t: string) => (text += t),
      writeBytes: () => Promise.resolve(),
      isTTY: columns > 0,
      columns,
    },
    env: { NO_COLOR: "1" },
  };
  writeTable(
    io as unknown as Io,
    [
      { title: "NAME", value: (r) => r.name, flexible: true },
      { title: "N", value: (r) => r.n, right: true },
      { title: "WHY", value: (r) => r.why, flexible: true },
    ],
    rows,
  );
  return text.split("\n");
}

describe("tables", () => {
  test("columns are aligned, numbers stand right, nothing trails", () => {
    expect(
      table(0, [
        { name: "a", n: 5, why: "" },
        { name: "bcd", n: 10, why: "late" },
      ]),
    ).toEqual(["NAME   N  WHY", "a      5", "bcd   10  late", ""]);
  });

  test("on a narrow terminal no line is longer than it, and the widest column gives way", () => {
    const lines = table(30, [
      { name: "web", n: 1, why: "a very long reason that does not fit into the terminal" },
    ]);
    expect(Math.max(...lines.map((l) => l.length))).toBeLessThanOrEqual(30);
    expect(lines[1]).toContain("…");
    expect(lines[1]).toStartWith("web");
  });

  test("in a pipe nothing is cut", () => {
    const why = "x".repeat(500);
    expect(table(0, [{ name: "web", n: 1, why }])[1]).toEndWith(why);
  });

  test("control characters of a peer do not reach the terminal", () => {
    expect(table(0, [{ name: "a\u001B[2Jb\nc\u009Bd", n: 1, why: "" }])[1]).toBe("a [2Jb c d  1");
  });
});

test("durations are read with their unit and shown in the largest", () => {
  const good: [string, number][] = [
    ["0s", 0],
    ["500ms", 500],
    ["1.5s", 1_500],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
  ];
  for (const [text, ms] of good) expect(parseDuration(text)).toBe(ms);
  for (const text of ["", "5", "5 s", "-1s", "1e3s", "s", "1w", "1m30s"])
    expect(parseDuration(text)).toBeUndefined();
  expect([850, 12_000, 300_000, 4 * 3_600_000, 9 * 86_400_000].map(formatDuration)).toEqual([
    "850ms",
    "12s",
    "5m",
    "4h",
    "9d",
  ]);
});

test("bytes are shown in binary units", () => {
  expect([0, 1023, 1024, 1536, 150 * 1024 * 1024].map(bytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "150 MiB",
  ]);
});

test("the nearest word is suggested for a slip, and nothing for another word", () => {
  const known = ["nodes", "node", "output", "detach", "timeout"];
  const cases: [string, string | undefined][] = [
    ["ndoes", "nodes"],
    ["NODES", "nodes"],
    ["outptu", "output"],
    ["deta", "detach"],
    ["zebra", undefined],
    ["x", undefined],
  ];
  for (const [word, expected] of cases) expect(nearest(word, known)).toBe(expected);
});

test("addresses get the default port, and what is none is refused", () => {
  expect(parseAddresses("a,10.0.0.1:80, [::1]:7400,https://c:9")).toEqual([
    "a:7400",
    "10.0.0.1:80",
    "[::1]:7400",
    "c:9",
  ]);
  for (const bad of ["", "a:", "a:0", "a:70000", "a b", "http://a", "a/b", "a,,b"]) {
    expect(() => parseAddresses(bad)).toThrow("bad value");
  }
});

test("made names are names, and differ", () => {
  const names = new Set(Array.from({ length: 200 }, () => readableName()));
  for (const name of names) expect(Name.safeParse(name).success).toBe(true);
  expect(names.size).toBeGreaterThan(190);
});

test("a host name becomes a node's name", () => {
  expect(
    ["Node-1.example.org", "my_host", "-x-", "", "ä", "a".repeat(80)].map((h) => defaultName(h)),
  ).toEqual(["node-1", "my-host", "x", "node", "node", "a".repeat(63)]);
});

describe("key=value flags", () => {
  test("options have dotted keys and YAML values", () => {
    expect(
      parseOptions("--set", [
        "spa=true",
        "n=3",
        "t=hello world",
        "h.0.path=/x",
        "h.1.path=/y",
        "e=",
        "l=[a, 2]",
      ]),
    ).toEqual({
      spa: true,
      n: 3,
      t: "hello world",
      h: [{ path: "/x" }, { path: "/y" }],
      e: null,
      l: ["a", 2],
    });
  });

  test("contradicting options are refused, each of them", () => {
    for (const given of [["a=1", "a=2"], ["a=1", "a.b=2"], ["a.5=1"], ["a..b=1"], ["noequals"], ["=x"]]) {
      expect(() => parseOptions("--set", given)).toThrow("--set");
    }
    expect(() => parseOptions("--set", ["a", "b"])).toThrow(/"a"[\s\S]*"b"/);
  });

  test("a key __proto__ stays a key", () => {
    const options = parseOptions("--set", ["__proto__.x=1"]);
    expect(Object.keys(options)).toEqual(["__proto__"]);
    expect(({} as { x?: number }).x).toBeUndefined();
    expect(Object.keys(parseLabels("--on", ["__proto__=1"]))).toEqual(["__proto__"]);
  });

  test("labels are text, once each", () => {
    expect(parseLabels("--on", ["disk=ssd", "n=3", "e=a=b"])).toEqual({ disk: "ssd", n: "3", e: "a=b" });
    expect(() => parseLabels("--on", ["a=1", "a=2"])).toThrow("twice");
  });
});

describe("files of the CLI", () => {
  const dir = mkdtempSync(join(tmpdir(), "dvs-parts-"));

  test("a context is for its owner's eyes only, and damage is told", async () => {
    const file = join(dir, "deep", "context.json");
    expect(readContext(file)).toBeUndefined();
    const context = { addresses: ["127.0.0.1:1"], token: "dvsa1.x" };
    await writeContext(file, context);
    expect(readContext(file)).toEqual(context);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    for (const text of [
      "",
      "{",
      "[]",
      "{}",
      '{"addresses":[],"token":"t"}',
      '{"addresses":[1],"token":"t"}',
    ]) {
      writeFileSync(file, text);
      expect(() => readContext(file)).toThrow("Cannot use context file");
    }
  });

  test("a host process is known by pid and start time, so that a reused pid is another one", async () => {
    const startTime = processStartTime(process.pid)!;
    const cluster = {
      version: 1 as const,
      nodes: 1,
      processes: [{ role: "node-1", pid: process.pid, startTime }],
    };
    await writeDevCluster(dir, cluster);
    expect(readDevCluster(dir)).toEqual(cluster);
    expect(isAlive(cluster.processes[0]!)).toBe(true);
    expect(isAlive({ role: "node-1", pid: process.pid, startTime: `${startTime}0` })).toBe(false);
    writeFileSync(join(dir, "cluster.json"), readFileSync(join(dir, "cluster.json"), "utf8").slice(0, 20));
    expect(() => readDevCluster(dir)).toThrow("it is damaged");
    rmSync(dir, { recursive: true });
  });
});
