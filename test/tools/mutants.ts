/**
 * Shows that the tests would notice: each file of test/mutants is a patch that breaks one rule of the code. It is
 * applied to a copy of the tree, its test is run there, and the test has to fail. A mutant that survives, or that no
 * longer applies, fails the run.
 *
 *   npm run mutants                 all
 *   npm run mutants -- credit       those whose names contain the word
 *
 * The first lines of a patch say what it breaks and which command has to notice:
 *
 *   # The receiver gives no credit back for every sixty-fourth message.
 *   # run: bun test/sim/run.ts --only kernel --seeds 100
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const patches = join(root, "test/mutants");
const timeoutMs = 5 * 60_000;

interface Mutant {
  name: string;
  what: string;
  command: string[];
  patch: string;
}

export function readMutant(name: string, text: string): Mutant {
  const comments = text
    .split("\n")
    .filter((line) => line.startsWith("# "))
    .map((line) => line.slice(2));
  const run = comments.find((line) => line.startsWith("run: "));
  const what = comments.filter((line) => line !== run).join(" ");
  if (!run || !what)
    throw new Error(`${name}: the patch must begin with \`# what it breaks\` and \`# run: command\``);
  return { name, what, command: run.slice("run: ".length).split(" "), patch: text };
}

/** `killed` by its test; or why it was not. */
export function tryMutant(mutant: Mutant, tree: string): "killed" | "survived" | "does not apply" {
  const git = (args: string[]) =>
    spawnSync("git", ["apply", ...args, "-"], { cwd: tree, input: mutant.patch });
  if (git([]).status !== 0) return "does not apply";
  try {
    const [command, ...args] = mutant.command;
    const bun = command === "bun" ? process.execPath : command!;
    const result = spawnSync(bun, args, {
      cwd: tree,
      timeout: timeoutMs,
      stdio: "ignore",
      killSignal: "SIGKILL",
    });
    return result.status === 0 ? "survived" : "killed";
  } finally {
    git(["-R"]);
  }
}

/** A copy of the files that git knows or would take, beside the installed packages. */
export function copyTree(): string {
  const tree = mkdtempSync(join(tmpdir(), "dvs-mutants-"));
  const listed = spawnSync("git", ["ls-files", "-co", "--exclude-standard"], { cwd: root, encoding: "utf8" });
  for (const file of listed.stdout.split("\n").filter(Boolean)) {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    try {
      cpSync(join(root, file), join(tree, file));
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e; // deleted, not yet committed
    }
  }
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  return tree;
}

if (import.meta.main) {
  const words = process.argv.slice(2);
  const names = readdirSync(patches)
    .filter((f) => f.endsWith(".patch") && words.every((w) => f.includes(w)))
    .sort();
  const mutants = names.map((name) => readMutant(name, readFileSync(join(patches, name), "utf8")));
  const tree = copyTree();
  let failed = 0;
  try {
    // The commands must pass where nothing is broken: else every mutant would seem killed.
    for (const command of new Set(mutants.map((m) => m.command.join(" ")))) {
      const [program, ...args] = command.split(" ");
      const bun = program === "bun" ? process.execPath : program!;
      const clean = spawnSync(bun, args, { cwd: tree, timeout: timeoutMs, stdio: "ignore" });
      if (clean.status !== 0) throw new Error(`"${command}" fails on the unbroken tree`);
    }
    for (const mutant of mutants) {
      const startMs = performance.now();
      const fate = tryMutant(mutant, tree);
      if (fate !== "killed") failed += 1;
      const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
      console.log(
        `${fate === "killed" ? "ok  " : "FAIL"} ${fate.padEnd(14)} ${seconds.padStart(6)} s  ${mutant.name}: ${mutant.what}`,
      );
    }
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
  console.log(`${mutants.length - failed} passed, ${failed} failed, 0 skipped`);
  process.exit(failed > 0 || mutants.length === 0 ? 1 : 0);
}
