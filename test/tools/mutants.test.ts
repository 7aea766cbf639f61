import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const hasGit = spawnSync("git", ["--version"]).status === 0;

test.skipIf(!hasGit)("every mutant applies to the sources as they are (skipped without git)", () => {
  const folder = join(root, "test/mutants");
  const broken = readdirSync(folder).filter((name) => {
    const { status } = spawnSync("git", ["apply", "--check", join(folder, name)], { cwd: root });
    return status !== 0;
  });
  expect(broken).toEqual([]);
});
