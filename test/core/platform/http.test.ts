import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";

const lab = new URL("http-lab.ts", import.meta.url).pathname;
const runtimes: [name: string, command: string, args: string[]][] = [
  ["Bun", process.execPath, [lab]],
  ["Deno", "deno", ["run", "-A", lab]],
];

for (const [name, command, args] of runtimes) {
  const missing = spawnSync(command, ["--version"]).status !== 0;
  describe.skipIf(missing)(`serveHttp on ${name}${missing ? " (not installed here)" : ""}`, () => {
    test(
      "every check passes",
      () => {
        const { stdout, stderr } = spawnSync(command, args, { encoding: "utf8", timeout: 60_000 });
        const results = stdout
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as { name: string; failure: string | null });
        expect({
          failed: results.filter(({ failure }) => failure !== null),
          stderr: stderr.slice(0, 2_000),
        }).toMatchObject({
          failed: [],
        });
        expect(results.length).toBe(17);
      },
      { timeout: 60_000 },
    );
  });
}
