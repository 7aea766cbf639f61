import { describe, expect, test } from "bun:test";
import type { ArgDefs } from "../../cli/args.ts";
import { parseArgs } from "../../cli/parse.ts";
import { DvsError } from "../../core/errors.ts";

const defs = {
  name: { type: "positional", required: true, description: "Name" },
  more: { type: "positional", many: true, description: "More names" },
  nodes: { type: "number", min: 1, max: 5, description: "Nodes" },
  site: { type: "string", description: "Directory" },
  output: {
    type: "enum",
    short: "o",
    options: ["table", "json"],
    default: "table",
    env: "DVS_OUTPUT",
    description: "Output",
  },
  set: { type: "list", short: "s", description: "Options" },
  timeout: { type: "duration", default: "2m", description: "Timeout" },
  detach: { type: "boolean", short: "d", description: "Detach" },
  yes: { type: "boolean", short: "y", description: "Yes" },
} as const satisfies ArgDefs;

const parse = (line: string, env: Record<string, string> = {}) =>
  parseArgs("dvs x", defs, line === "" ? [] : line.split(" "), env);

describe("what is accepted", () => {
  const cases: [line: string, expected: Partial<ReturnType<typeof parse>>][] = [
    ["web", { name: "web", more: [], output: "table", timeout: 120_000, detach: false, set: [] }],
    ["web a b", { name: "web", more: ["a", "b"] }],
    ["web --nodes 3", { nodes: 3 }],
    ["--nodes=3 web", { name: "web", nodes: 3 }],
    ["web -o json", { output: "json" }],
    ["web -ojson", { output: "json" }],
    ["web -dy", { detach: true, yes: true }],
    ["web -dyo json", { detach: true, yes: true, output: "json" }],
    ["web --detach=false", { detach: false }],
    ["web --set a=1 -s b=2", { set: ["a=1", "b=2"] }],
    ["web --timeout 1.5s", { timeout: 1_500 }],
    ["web --site=--odd", { site: "--odd" }],
    ["-- --web", { name: "--web" }],
    ["-", { name: "-" }],
  ];
  for (const [line, expected] of cases) test(line, () => expect(parse(line)).toMatchObject(expected));

  test("the environment fills what the command line leaves open, and is beaten by it", () => {
    expect(parse("web", { DVS_OUTPUT: "json" }).output).toBe("json");
    expect(parse("web -o table", { DVS_OUTPUT: "json" }).output).toBe("table");
    expect(parse("web", { DVS_OUTPUT: "" }).output).toBe("table");
  });
});

describe("what is refused, with what to do about it", () => {
  const cases: [line: string, ...messages: string[]][] = [
    ["", "missing NAME: Name"],
    ["web --node 3", "unknown flag --node: did you mean --nodes?"],
    ["web --ndoes 3", "unknown flag --ndoes: did you mean --nodes?"],
    ["web --zzz", "unknown flag --zzz\n"],
    ["web -z", "unknown flag -z"],
    ["web --nodes 0", 'bad value "0" for --nodes: accepted: a whole number from 1 to 5'],
    ["web --nodes 6", 'bad value "6" for --nodes'],
    ["web --nodes -1", 'bad value "-1" for --nodes'],
    ["web --nodes 1e1", 'bad value "1e1" for --nodes'],
    ["web --nodes three", 'bad value "three" for --nodes'],
    ["web -o jsn", 'bad value "jsn" for -o: accepted: one of table, json: did you mean "json"?'],
    ["web --timeout 5", 'bad value "5" for --timeout: accepted: a number with its unit'],
    ["web --nodes", "flag --nodes needs a value: a whole number from 1 to 5"],
    ["web --site --detach", "flag --site needs a value"],
    ["web --site=", 'bad value "" for --site: must not be empty'],
    ["web --nodes 1 --nodes 2", "flag --nodes is given twice"],
    ["web --detach=maybe", 'bad value "maybe" for --detach: accepted: true, false'],
    ["--nodes 9 --outptu json --detach=1", "3 mistakes", "--outptu: did you mean --output?", "--detach"],
  ];
  for (const [line, ...messages] of cases) {
    test(line || "(nothing)", () => {
      let thrown: unknown;
      try {
        parse(line);
      } catch (e) {
        thrown = e;
      }
      expect(thrown).toBeInstanceOf(DvsError);
      expect((thrown as DvsError).code).toBe("INVALID");
      for (const message of messages) expect((thrown as DvsError).message).toContain(message);
    });
  }

  test("a bad value in the environment names the variable", () => {
    expect(() => parse("web", { DVS_OUTPUT: "xml" })).toThrow('bad value "xml" in DVS_OUTPUT');
  });

  test("a positional too many is told where none is taken", () => {
    expect(() => parseArgs("dvs up", { nodes: defs.nodes }, ["extra"], {})).toThrow(
      'unexpected argument "extra" for "dvs up"',
    );
  });

  test("a name of Object's prototype is an unknown flag like any other", () => {
    for (const name of ["constructor", "__proto__", "toString"]) {
      expect(() => parse(`web --${name}`)).toThrow(`unknown flag --${name}`);
    }
  });
});
