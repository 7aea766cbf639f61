/**
 * A cluster, an instance, a killed container, files, the end: what must work however dvs is run. Prints a line a check, then
 * `N passed, N failed, N skipped`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InstanceView } from "../../core/api/views.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import { obstacleToMounts } from "../core/fuse/obstacle.ts";
import { freePort } from "../tools/free-port.ts";

/** `command` and `args` run dvs. True when all is well. */
export async function smoke(command: string, args: string[]): Promise<boolean> {
  const home = mkdtempSync(join(tmpdir(), "dvs-smoke-"));
  const env = { PATH: process.env["PATH"], HOME: home, DVS_HOME: home, NO_COLOR: "1" };
  let passed = 0;
  let failed = 0;
  let skipped = 0;

  function dvs(line: string): { code: number | null; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync(command, [...args, ...line.split(" ")], {
      env,
      encoding: "utf8",
      cwd: home,
    });
    return { code: status, stdout, stderr };
  }

  async function check(fact: string, run: () => void | Promise<void>): Promise<void> {
    try {
      await run();
      passed++;
      console.log(`ok     ${fact}`);
    } catch (e) {
      failed++;
      console.log(`FAILED ${fact}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }

  function ensure(condition: boolean, what: unknown): void {
    if (!condition) throw new Error(typeof what === "string" ? what : JSON.stringify(what));
  }

  async function get(url: string): Promise<string> {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    ensure(response.ok, `${url} answered ${response.status}`);
    return response.text();
  }

  const view = () => JSON.parse(dvs("instance inspect web -o json").stdout) as InstanceView;

  try {
    const port = await freePort();
    const site = join(home, "site");
    mkdirSync(site);
    writeFileSync(join(site, "index.html"), "from the binary");
    // What a working directory holds must not become code of the binary.
    writeFileSync(join(home, "bunfig.toml"), 'preload = ["./evil.ts"]\n');
    writeFileSync(join(home, "evil.ts"), "process.exit(99);\n");
    writeFileSync(join(home, ".env"), "DVS_OUTPUT=bad\n");

    await check("the working directory's bunfig and .env are not read", () => {
      const { code, stderr } = dvs("version");
      ensure(code === 0, { code, stderr });
    });
    await check("a cluster comes up", () => {
      const { code, stderr } = dvs("up --nodes 3 --timeout 60s");
      ensure(code === 0, stderr);
    });
    await check("an instance is created from a directory", () => {
      const { code, stderr } = dvs(
        `instance create web --os web --nodes 2 --site ${site} --publish ${port} --timeout 60s`,
      );
      ensure(code === 0, stderr);
    });
    await check("every node answers, also the one without a container", async () => {
      for (const k of [1, 2, 3])
        ensure((await get(`http://127.0.0.${k}:${port}/`)) === "from the binary", `node ${k}`);
    });
    await check("a killed container is started again, and the port answers meanwhile", async () => {
      const { pid, node } = view().containers[0]!;
      process.kill(pid, "SIGKILL");
      for (let i = 0; i < 20; i++)
        ensure((await get(`http://127.0.0.3:${port}/`)) === "from the binary", "wrong body");
      const end = performance.now() + 20_000;
      for (;;) {
        const now = view().containers.find((c) => c.node === node);
        if (now?.state === "ready" && now.pid !== pid) break;
        ensure(performance.now() < end, now ?? "no container");
      }
    });
    await check("files of a volume: copied in, served by every node, backed up, restored", async () => {
      const [filesPort, dir] = [await freePort(), join(home, "tree")];
      mkdirSync(dir);
      writeFileSync(join(dir, "a.txt"), "copied");
      const steps: [line: string, says?: string][] = [
        [
          `instance create files --os web --nodes 2 --site ${site} --set files=volume -p ${filesPort} --timeout 60s`,
        ],
        [`cp ${dir} files:/`],
        ["ls files:/tree", "a.txt"],
        [`instance backup files ${home}/files.dvs`],
        ["rm files:/tree/a.txt"],
        [`instance restore files ${home}/files.dvs --yes`],
        ["cat files:/tree/a.txt", "copied"],
      ];
      for (const [line, says] of steps) {
        const { code, stdout, stderr } = dvs(line);
        ensure(code === 0 && (says === undefined || stdout.includes(says)), { line, code, stdout, stderr });
      }
      for (const k of [1, 2, 3])
        ensure((await get(`http://127.0.0.${k}:${filesPort}/tree/a.txt`)) === "copied", `node ${k}`);
    });
    const [obstacle, point] = [obstacleToMounts(), join(home, "mount")];
    if (obstacle) skipped++;
    else
      await check("a mount of it: what is written there is served", async () => {
        mkdirSync(point);
        const mounted = dvs(`instance mount files ${point}`);
        ensure(mounted.code === 0, mounted.stderr);
        writeFileSync(join(point, "b.txt"), "by the mount");
        ensure(readFileSync(join(point, "tree/a.txt"), "utf8") === "copied", "wrong content");
        ensure(dvs("cat files:/b.txt").stdout === "by the mount", "it is not there");
        const { code, stderr } = dvs(`instance umount ${point}`);
        ensure(code === 0, stderr);
      });
    await check("the instance is removed with its state", () => {
      const { code, stderr } = dvs("instance rm files --yes");
      ensure(code === 0, stderr);
    });
    await check("stack traces name the sources", () => {
      const { stderr } = spawnSync(command, [...args, "status", "--addr", "127.0.0.1:1", "--token", "x"], {
        env: { ...env, DVS_DEBUG: "1" },
        encoding: "utf8",
      });
      ensure(/\w+\.ts:\d+/.test(stderr), stderr);
    });
    await check("the cluster ends, and nothing of it is left", () => {
      const pids = view().containers.map((c) => c.pid);
      const { code, stdout, stderr } = dvs("down -o json");
      ensure(code === 0, stderr);
      ensure((JSON.parse(stdout) as { ended: unknown[] }).ended.length === 9, stdout);
      for (const pid of pids) ensure(processStartTime(pid) === null, `container ${pid} lives`);
    });
  } finally {
    dvs("down");
    rmSync(home, { recursive: true, force: true });
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed === 0;
}
