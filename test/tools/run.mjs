// Runs the project's tasks on a fresh clone, with Node and npm only or with Bun only. Plain JavaScript without
// dependencies, since it is what installs them.
//
//   node test/tools/run.mjs TASK [ARGUMENTS]      or: bun test/tools/run.mjs TASK [ARGUMENTS]
//
//   test    every test, or those whose paths are given; the last line is `N passed, N failed, N skipped`
//   check   format, lint, types, lock files, then test
//   build   the binary dist/dvs
//   demo, sim, mutants, bench:start, bench:web, bench:ipc, bench:log, bench:volume, bench:faults
//
// What it says itself goes to stderr: the stdout of a benchmark is data.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { lockMistakes } from "./lock-files.mjs";
import { readJunit } from "./junit.mjs";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const inBun = process.versions.bun !== undefined;
const say = (text) => process.stderr.write(`${text}\n`);

/** Flags of the product: bytecode and splitting for a start in milliseconds, nothing read from the working directory. */
const compile =
  "build --compile --bytecode --format=esm --splitting --minify --sourcemap --no-compile-autoload-dotenv " +
  "--no-compile-autoload-bunfig cli/main.ts --outfile dist/dvs";

const tasks = {
  test,
  check,
  build: () => build(),
  demo: (args) => script("test/tools/demo.ts", args),
  sim: (args) => script("test/sim/run.ts", args),
  mutants: (args) => script("test/tools/mutants.ts", args),
  "bench:start": async (args) => (await builtForBench()) || script("bench/start.ts", args),
  "bench:web": async (args) =>
    (await builtForBench()) || (await script("bench/static.ts", args)) || script("bench/ingress.ts", args),
  "bench:ipc": (args) => script("bench/ipc.ts", args),
  "bench:log": (args) => script("bench/log.ts", args),
  "bench:volume": (args) => script("bench/volume.ts", args),
  "bench:faults": async (args) => (await builtForBench()) || script("bench/faults.ts", args),
};

async function main() {
  const [name, ...args] = process.argv.slice(2);
  const task = Object.hasOwn(tasks, name ?? "") ? tasks[name] : undefined;
  if (!task) {
    say(`unknown task ${name ?? "(none)"}: one of ${Object.keys(tasks).join(", ")}`);
    return 2;
  }
  if (!inBun && Number(process.versions.node.split(".")[0]) < 20) {
    say(`Node ${process.versions.node} is too old: 20 or newer, or Bun`);
    return 2;
  }
  process.chdir(root);
  return (await install()) || task(args);
}

/** Installs what the lock file says, when a package is missing or has another version. */
async function install() {
  const wrong = wrongPackages();
  if (wrong.length === 0 && bun()) return 0;
  if (wrong.length > 0) {
    say(
      `installing locked dependencies: ${wrong.length === 1 ? wrong[0] : `${wrong.length} packages are missing or old`}`,
    );
    const npm =
      process.env.npm_execpath?.endsWith(".js") && !inBun
        ? [process.execPath, process.env.npm_execpath]
        : ["npm"];
    const useBun = inBun || spawnSync(npm[0], [...npm.slice(1), "--version"]).status !== 0;
    const [command, ...args] = useBun
      ? [inBun ? process.execPath : "bun", "install", "--frozen-lockfile"]
      : [...npm, "ci", "--no-audit", "--no-fund"];
    const code = await run(command, args, { stdout: "stderr" });
    if (code !== 0) return code;
  }
  const postinstall = join(root, "test/tools/postinstall.mjs");
  if (!bun()) spawnSync(process.execPath, [postinstall], { stdio: "ignore" });
  if (bun()) return 0;
  say(
    "no Bun that runs: the package `bun` is in node_modules, but its binary is not. Is this platform one of Bun's?",
  );
  return 1;
}

/** Packages of the lock file that node_modules has not, or in another version. Optional ones depend on the machine. */
function wrongPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return Object.entries(packages)
    .filter(([path, { optional }]) => path.startsWith("node_modules/") && !optional)
    .filter(([path, { version }]) => installed(path) !== version && installed(hoisted(path)) !== version)
    .map(([path, { version }]) => `${path.slice("node_modules/".length)}@${version}`);
}

/** Bun and npm put the packages of packages in different places. */
function hoisted(path) {
  return path.slice(path.lastIndexOf("node_modules/"));
}

function installed(path) {
  try {
    return JSON.parse(readFileSync(join(root, path, "package.json"), "utf8")).version;
  } catch {
    return undefined;
  }
}

let foundBun;
/** The Bun of node_modules, which has the locked version; else the one that runs this; else the one on PATH. */
function bun() {
  const local = ["node_modules/bun/bin/bun.exe", "node_modules/.bin/bun"]
    .map((p) => join(root, p))
    .filter((p) => existsSync(p));
  foundBun ??= [...local, ...(inBun ? [process.execPath] : []), "bun"].find(
    (command) => spawnSync(command, ["--version"]).status === 0,
  );
  return foundBun;
}

async function test(args) {
  const dir = mkdtempSync(join(tmpdir(), "dvs-junit-"));
  const outfile = join(dir, "junit.xml");
  try {
    const workers = Math.max(1, Math.min(4, availableParallelism()));
    const code = await run(bun(), [
      "test",
      `--parallel=${workers}`,
      "--timeout=30000",
      "--reporter=junit",
      `--reporter-outfile=${outfile}`,
      ...args,
    ]);
    const result = existsSync(outfile) ? readJunit(readFileSync(outfile, "utf8")) : undefined;
    if (!result) {
      say("bun test has written no report");
      return code || 1;
    }
    for (const { name, file } of result.skipped) process.stdout.write(`skipped: ${file}: ${name}\n`);
    for (const { name, file } of result.failed) process.stdout.write(`failed: ${file}: ${name}\n`);
    const failed = result.failed.length;
    const total = result.passed + failed + result.skipped.length;
    if (total === 0) say("no tests were found");
    if (code !== 0 && failed === 0)
      say(`bun test ended with ${code} though no test failed: an error outside of a test`);
    // An error outside of a test counts, so that the line never says less than the exit code.
    const shown = code !== 0 && failed === 0 ? 1 : failed;
    process.stdout.write(`${result.passed} passed, ${shown} failed, ${result.skipped.length} skipped\n`);
    return code || (shown > 0 || total === 0 ? 1 : 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** @param {string[]} args */
async function check(args) {
  /** @type {[string, () => Promise<number>][]} */
  const stages = [
    ["format", () => run(bun(), ["fmt", "--no-script", "--check", "."])],
    ["lint", () => run(process.execPath, ["node_modules/oxlint/bin/oxlint", "--type-aware"], { path: true })],
    ["types", () => run(process.execPath, ["node_modules/typescript/bin/tsc", "--noEmit"])],
    ["lock files", async () => lockFiles()],
    ["test", () => test(args)],
  ];
  const failed = [];
  for (const [name, stage] of stages) {
    const began = performance.now();
    const code = await stage();
    say(
      `${code === 0 ? "ok    " : "FAILED"} ${name} (${((performance.now() - began) / 1_000).toFixed(1)} s)`,
    );
    if (code !== 0) failed.push(name);
  }
  if (failed.length > 0) say(`failed: ${failed.join(", ")}`);
  return failed.length > 0 ? 1 : 0;
}

function lockFiles() {
  const mistakes = lockMistakes(root);
  for (const mistake of mistakes) say(mistake);
  return mistakes.length > 0 ? 1 : 0;
}

async function build(options) {
  const code = await run(bun(), compile.split(" "), options);
  // The maps are inside of the binary, too.
  for (const file of existsSync("dist") ? readdirSync("dist") : [])
    if (file.endsWith(".map")) rmSync(join("dist", file));
  return code;
}

async function builtForBench() {
  if (existsSync(join(root, "dist/dvs")) && process.env.DVS_BENCH_BUILT === "1") return 0;
  return build({ stdout: "stderr" });
}

function script(file, args) {
  if (existsSync(join(root, file))) return run(bun(), ["--no-install", file, ...args]);
  say(`${file} does not exist`);
  return 1;
}

/** Resolves with the exit code. Signals that end this end the child, too. */
function run(command, args, { stdout } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ["inherit", stdout === "stderr" ? 2 : "inherit", "inherit"],
      env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env.PATH ?? ""}` },
    });
    const forward = (signal) => child.kill(signal);
    process.on("SIGTERM", forward);
    process.on("SIGINT", forward);
    // npm passes a signal to its shell only, and both end: what they have started would go on for nobody.
    const parent = process.ppid;
    const orphaned = setInterval(() => {
      if (process.env.npm_lifecycle_event === undefined || process.ppid === parent) return;
      clearInterval(orphaned);
      forward("SIGTERM");
    }, 500);
    child.on("error", (e) => {
      clearInterval(orphaned);
      say(`cannot run ${command}: ${e.message}`);
      resolve(1);
    });
    child.on("close", (code, signal) => {
      clearInterval(orphaned);
      process.off("SIGTERM", forward);
      process.off("SIGINT", forward);
      resolve(code ?? (signal === "SIGINT" ? 130 : 143));
    });
  });
}

process.exitCode = await main();
