/** The tools that run, count and install: what they say decides whether a change is taken. */
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readJunit } from "./junit.mjs";
import { compareLocks, lockMistakes } from "./lock-files.mjs";

const root = new URL("../../", import.meta.url).pathname;

describe("counting a junit report", () => {
  test("passed, failed, errors and skipped are counted from the cases, names are unescaped", () => {
    const xml = `<?xml version="1.0"?><testsuites tests="99"><testsuite name="a.test.ts">
      <testcase name="one" classname="group" file="a.test.ts" time="0" assertions="1" />
      <testcase name="two &lt;&amp;&gt;" classname="group" file="a.test.ts"><failure type="AssertionError" /></testcase>
      <testcase name="three" classname="" file="a.test.ts"><error /></testcase>
      <testcase name="four (needs etcd)" classname="etcd" file="b.test.ts"><skipped /></testcase>
    </testsuite></testsuites>`;
    expect(readJunit(xml)).toEqual({
      passed: 1,
      failed: [
        { name: "group > two <&>", file: "a.test.ts" },
        { name: "three", file: "a.test.ts" },
      ],
      skipped: [{ name: "etcd > four (needs etcd)", file: "b.test.ts" }],
    });
  });

  function runTests(files: Record<string, string>) {
    const dir = mkdtempSync(join(tmpdir(), "dvs-tools-"));
    try {
      for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
      const ran = spawnSync(process.execPath, [join(root, "test/tools/run.mjs"), "test", dir], {
        encoding: "utf8",
      });
      return { code: ran.status, last: ran.stdout.trimEnd().split("\n").at(-1), stdout: ran.stdout };
    } finally {
      rmSync(dir, { recursive: true });
    }
  }

  test("the last line and the exit code agree with what happened", () => {
    const head = `import { expect, test } from "bun:test";\n`;
    const good = `${head}test("a", () => expect(1).toBe(1)); test.skip("b (needs x)", () => {});`;
    expect(runTests({ "good.test.ts": good })).toMatchObject({
      code: 0,
      last: "1 passed, 0 failed, 1 skipped",
    });
    expect(runTests({ "good.test.ts": good }).stdout).toContain("b (needs x)");
    const bad = `${head}test("a", () => expect(1).toBe(2)); test("b", () => {});`;
    expect(runTests({ "bad.test.ts": bad })).toMatchObject({
      code: 1,
      last: "1 passed, 1 failed, 0 skipped",
    });
    const broken = `${head}test("a", () => {}); throw new Error("while loading");`;
    const { code, last } = runTests({ "broken.test.ts": broken, "good.test.ts": good });
    expect(code).toBe(1);
    expect(last).toMatch(/ [1-9]\d* failed, /);
  }, 30_000);

  test("no tests at all is a failure", () => {
    expect(runTests({ "nothing.ts": "" }).code).not.toBe(0);
  }, 30_000);

  test("an unknown task is refused", () => {
    const ran = spawnSync(process.execPath, [join(root, "test/tools/run.mjs"), "tset"], { encoding: "utf8" });
    expect(ran.status).toBe(2);
    expect(ran.stderr).toContain("unknown task tset");
  });
});

describe("lock files", () => {
  test("package.json, package-lock.json and bun.lock agree", () => {
    expect(lockMistakes(root)).toEqual([]);
  });

  test("every kind of disagreement is found", () => {
    const manifest = { dependencies: { a: "1.0.0", b: "2.0.0" } };
    const lock = {
      packages: {
        "": { dependencies: { a: "1.0.0", b: "1.9.0" } },
        "node_modules/a": { version: "1.0.0", optionalDependencies: { "a-mac": "1.0.0" } },
        "node_modules/b": { version: "1.9.0" },
      },
    };
    const bun = `{\n  "packages": {\n    "a": ["a@1.0.1", "", {}, "sha"],\n    "b": ["b@1.9.0", "", {}, "sha"],\n  }\n}\n`;
    const mistakes = compareLocks(manifest, lock, bun);
    expect(mistakes).toHaveLength(3);
    expect(mistakes[0]).toContain("b@1.9.0, package.json says 2.0.0");
    expect(mistakes[1]).toContain("no entry for the optional a-mac@1.0.0");
    expect(mistakes[2]).toContain("a: package-lock.json has 1.0.0, bun.lock has 1.0.1");
  });

  test("no lock file names a registry", () => {
    for (const file of ["package-lock.json", "bun.lock"]) {
      expect(readFileSync(join(root, file), "utf8")).not.toMatch(
        /"resolved"|https?:\/\/(?!\S*(?:opencollective|github\.com|tidelift|paulmillr|feross|patreon))\S*registry/,
      );
    }
  });
});
