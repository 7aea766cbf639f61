import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commands, isGroup, type Leaf } from "../../cli/commands.ts";
import { exitCodes } from "../../cli/exit-codes.ts";
import { ERRORS } from "../../core/errors.ts";
import { mintApiToken } from "../../core/trust/tokens.ts";
import { version } from "../../core/version.ts";
import { dvs } from "./fake-io.ts";

/** Every command with its words. */
const leaves: [string[], Leaf][] = Object.entries(commands).flatMap(([name, entry]): [string[], Leaf][] =>
  isGroup(entry)
    ? Object.entries(entry.commands).map(([verb, leaf]): [string[], Leaf] => [[name, verb], leaf])
    : [[[name], entry]],
);

describe("help", () => {
  test("dvs --help names every command that is not hidden, and nothing of it goes to stderr", async () => {
    const { code, stdout, stderr } = await dvs(["--help"]);
    expect(code).toBe(0);
    expect(stderr).toBe("");
    for (const [name, entry] of Object.entries(commands)) {
      expect(stdout.includes(`\n  ${name} `)).toBe(isGroup(entry) || !entry.hidden);
    }
  });

  for (const [words, leaf] of leaves) {
    test(`dvs ${words.join(" ")} --help has usage, every flag described, and examples that parse`, async () => {
      const { code, stdout, stderr } = await dvs([...words, "--help"]);
      expect(code).toBe(0);
      expect(stderr).toBe("");
      expect(stdout).toContain(`Usage:\n  dvs ${words.join(" ")}`);
      const { default: command } = await leaf.load();
      for (const [key, def] of Object.entries(command.args)) {
        expect(stdout).toContain(def.type === "positional" ? key.toUpperCase() : `--${key}`);
        expect(def.description.length).toBeGreaterThan(3);
      }
      expect(command.examples.length).toBeGreaterThan(0);
      for (const [example] of command.examples) expect(example).toContain(`dvs ${words.join(" ")}`);
      expect(stdout).toContain(command.examples[0]![0]);
      expect(await dvs(["help", ...words])).toEqual({ code, stdout, stderr });
    });
  }

  test("the help of a group lists its commands", async () => {
    const { code, stdout } = await dvs(["instance", "--help"]);
    expect(code).toBe(0);
    for (const verb of ["create", "ls", "inspect", "rm", "stop", "start", "logs"])
      expect(stdout).toContain(`\n  ${verb}`);
  });

  test("dvs alone shows the help as words and is a mistake", async () => {
    const { code, stdout, stderr } = await dvs([]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("Commands:");
  });

  test("no short flag of a command stands for two flags", async () => {
    for (const [words, leaf] of leaves) {
      const { default: command } = await leaf.load();
      const shorts = Object.values(command.args).flatMap((d) =>
        d.type === "positional" || !d.short ? [] : [d.short],
      );
      expect({ words, shorts: [...new Set(shorts)] }).toEqual({ words, shorts });
    }
  });

  test("exit codes in the help and the README are those of the one table of errors", async () => {
    const { stdout } = await dvs(["--help"]);
    const readme = readFileSync(new URL("../../README.md", import.meta.url), "utf8");
    // The formatter pads cells.
    const rows = readme.split("\n").map((line) => line.replace(/ +/g, " "));
    for (const [code, meaning] of exitCodes()) {
      expect(stdout).toMatch(new RegExp(`\\n  ${code} +${RegExp.escape(meaning)}`));
      expect(rows).toContain(`| ${code} | ${meaning} |`);
    }
    expect(exitCodes().map(([code]) => code)).toEqual(
      [...new Set([0, 130, ...Object.values(ERRORS).map((e) => e.exit)])].toSorted((a, b) => a - b),
    );
  });
});

describe("the command line", () => {
  const cases: [argv: string, code: number, stderr: string][] = [
    ["instanc ls", 2, 'unknown command "dvs instanc": did you mean "dvs instance"?'],
    ["instance craete", 2, 'unknown command "dvs instance craete": did you mean "dvs instance create"?'],
    ["instance __proto__", 2, 'unknown command "dvs instance __proto__"'],
    ["constructor", 2, 'unknown command "dvs constructor"'],
    ["--versoin", 2, "unknown flag --versoin: did you mean --version?"],
    ["node ls extra", 2, 'unexpected argument "extra"'],
    ["container", 2, "missing --run-dir"],
    ["status", 6, "No cluster to talk to"],
    ["status --addr localhost:1", 5, "No API token"],
    ["status --addr http://x:y --token t", 2, "bad value"],
    [
      "instance create web --os web --on disk --addr a:1 --token t",
      2,
      'bad value "disk" for --on: accepted: key=value',
    ],
  ];
  for (const [line, code, message] of cases) {
    test(`dvs ${line}: ${code}`, async () => {
      const ran = await dvs(line.split(" "));
      expect(ran.stderr).toContain(message);
      expect({ code: ran.code, stdout: ran.stdout }).toEqual({ code, stdout: "" });
    });
  }

  test("dvs status where no coordinator is reached says what that means, and what to do", async () => {
    const { token } = mintApiToken({ caFingerprint: "0".repeat(64) });
    const { code, stdout, stderr } = await dvs(["status", "--addr", "127.0.0.1:1", "--token", token]);
    expect({ code, stdout }).toEqual({ code: 6, stdout: "" });
    expect(stderr).toContain("Cannot reach 127.0.0.1:1: nothing listens there.");
    expect(stderr).toContain("Nothing is known of the cluster here.");
    expect(stderr).toContain("an instance that loses its primary pauses until a coordinator is back");
  });

  test("--version and version", async () => {
    expect(await dvs(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
    expect((await dvs(["version"])).stdout).toStartWith(`dvs ${version} (`);
    expect(JSON.parse((await dvs(["version", "-o", "json"])).stdout)).toMatchObject({ version });
  });

  test("general flags may stand before the command", async () => {
    expect(JSON.parse((await dvs(["-o", "json", "version"])).stdout)).toMatchObject({ version });
    expect(JSON.parse((await dvs(["--output=json", "version"])).stdout)).toMatchObject({ version });
    expect((await dvs(["--detach", "version"])).stderr).toContain("unknown flag --detach");
  });

  test("with -o json an error is one JSON object on stderr, with its issues", async () => {
    for (const argv of [
      ["status", "-o", "json", "--nope"],
      ["-ojson", "status", "--nope"],
    ]) {
      const { code, stdout, stderr } = await dvs(argv);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: "INVALID", issues: [{ path: "--nope" }] } });
    }
  });

  test("a command that is interrupted ends with 130, one that is terminated with 143", async () => {
    for (const [name, code] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
    ] as const) {
      const abort = new AbortController();
      abort.abort(name);
      expect((await dvs(["plugin", "ls"], { signal: abort.signal })).code).toBe(code);
    }
  });

  test("FORCE_COLOR colours, NO_COLOR beats it, a pipe alone has none", async () => {
    const escape = "\u001B[";
    expect((await dvs(["--help"])).stdout).not.toContain(escape);
    expect((await dvs(["--help"], { tty: true })).stdout).toContain(escape);
    expect((await dvs(["--help"], { env: { FORCE_COLOR: "1" } })).stdout).toContain(escape);
    expect(
      (await dvs(["--help"], { tty: true, env: { FORCE_COLOR: "1", NO_COLOR: "1" } })).stdout,
    ).not.toContain(escape);
  });
});

describe("rm", () => {
  test("asks where a person can answer; no means no", async () => {
    const questions: string[] = [];
    const ran = await dvs(["instance", "rm", "web", "--addr", "127.0.0.1:1", "--token", "t"], {
      ask: async (q) => (questions.push(q), "n"),
    });
    expect(questions).toEqual(["Remove web? [y/N] "]);
    expect(ran.code).toBe(8);
    expect(ran.stderr).toContain("Nothing was changed");
  });

  test("does not ask with --yes", async () => {
    const ran = await dvs(["instance", "rm", "web", "--yes", "--addr", "127.0.0.1:1", "--token", "t"], {
      ask: () => Promise.reject(new Error("asked")),
    });
    expect(ran.stderr).not.toContain("asked");
  });
});

describe("config", () => {
  const dir = mkdtempSync(join(tmpdir(), "dvs-cli-"));
  const file = join(dir, "web.yaml");

  test("check tells every mistake with its line, and exits with 2", async () => {
    writeFileSync(file, "os: web\nnode: 3\nnodes: three\npublish: [0]\noptions:\n  spaa: true\n");
    const { code, stdout, stderr } = await dvs(["config", "check", file]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`${file}:2 node: unknown key: did you mean "nodes"?`);
    expect(stderr).toContain(`${file}:3 nodes: must be a number, not "three"`);
    expect(stderr).toContain(`${file}:4 publish.0: must be at least 1, not 0`);
    expect(stderr).toContain(`${file}:6 options.spaa: unknown key`);
    rmSync(dir, { recursive: true });
    expect(existsSync(file)).toBe(false);
  });

  test("check reads standard input", async () => {
    const { code, stderr } = await dvs(["config", "check", "-"], { stdin: "kind: instance\nos: hello\n" });
    expect({ code, stderr }).toMatchObject({ code: 0 });
  });

  test("a file that does not exist is NOT_FOUND", async () => {
    expect((await dvs(["config", "check", "/nonexistent/x.yaml"])).code).toBe(3);
  });

  test("schema prints JSON Schema alone", async () => {
    const { code, stdout, stderr } = await dvs(["config", "schema"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({ title: "dvs instance configuration" });
  });
});
