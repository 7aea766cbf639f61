/** Programs that people have, against a site that takes uploads: curl, cadaver, rclone, and litmus, which tests servers. */
import { afterAll, beforeAll, describe, expect, test, setDefaultTimeout } from "bun:test";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebVolume } from "./volume-harness.ts";

/** Others may need the processor. */
setDefaultTimeout(60_000);

const litmusDir = "/usr/libexec/litmus";
const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const big = Buffer.alloc(3_000_000, "0123456789");
writeFileSync(join(dir, "big"), big);

let web: WebVolume;
let server: ReturnType<typeof Bun.serve>;
let url = "";
beforeAll(async () => {
  web = await WebVolume.open({ "/index.html": "home", "/files/a.txt": "a" });
  const { vos } = await web.container({ uploads: { paths: ["/files/**"], tokens: null } });
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => vos.fetch(request, { peer: "" }),
  });
  url = `http://127.0.0.1:${server.port}/files/`;
}, 60_000);
afterAll(async () => {
  await server.stop(true);
  await web.close();
}, 60_000);

/** Its output; fails the test where it fails. */
async function run(command: string[], input = ""): Promise<string> {
  const env = { ...process.env, HOME: dir, RCLONE_CONFIG: "/dev/null" };
  const child = Bun.spawn(command, {
    cwd: dir,
    env,
    stdin: Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${out}${err}`);
  return out;
}
const content = async (name: string) => Buffer.from(await (await fetch(url + name)).arrayBuffer());
/** Why a test is skipped is in its name. */
const withProgram = (path: string) => test.skipIf(Bun.which(path) === null);

withProgram("curl")("curl -T (where curl is installed)", async () => {
  expect(await run(["curl", "-sS", "-T", "big", "-w", "%{http_code}", url])).toBe("201");
  expect((await content("big")).equals(big)).toBe(true);
  expect(await run(["curl", "-sS", "-T", "-", "-w", "%{http_code}", `${url}piped`], "from a pipe")).toBe(
    "201",
  );
  expect((await content("piped")).toString()).toBe("from a pipe");
  expect(await run(["curl", "-sS", "-X", "DELETE", "-w", "%{http_code}", `${url}piped`])).toBe("204");
});

withProgram("cadaver")("cadaver (where cadaver is installed)", async () => {
  const script =
    "mkcol coll\ncd coll\nput big\ncopy big big2\nmove big2 big3\nget big3 got\ndelete big\nls\ncd ..\nrmcol coll\nls\nquit\n";
  const out = await run(["cadaver", url], script);
  expect(out).not.toContain("failed");
  expect(out).toContain("big3                             3000000");
  expect((await Bun.file(join(dir, "got")).bytes()).length).toBe(big.length);
  expect((await fetch(`${url}coll/big3`)).status).toBe(404);
});

withProgram("rclone")(
  "rclone copies, checks, lists and purges (where rclone is installed)",
  async () => {
    await Bun.write(join(dir, "tree", "one"), "1");
    await Bun.write(join(dir, "tree", "sub", "two words"), "2");
    const remote = `:webdav,url='${url}',vendor=other:`;
    await run(["rclone", "copy", "tree", `${remote}tree`]);
    await run(["rclone", "check", "tree", `${remote}tree`, "--download"]);
    await run(["rclone", "moveto", `${remote}tree/one`, `${remote}tree/uno`]);
    const names = (await run(["rclone", "lsf", "-R", `${remote}tree`])).trim().split("\n");
    expect(names.toSorted((a, b) => (a < b ? -1 : 1))).toEqual(["sub/", "sub/two words", "uno"]);
    await run(["rclone", "purge", `${remote}tree`]);
    expect((await fetch(`${url}tree/uno`)).status).toBe(404);
  },
  20_000,
);

describe("litmus (where it is installed)", () => {
  // Of `props`, properties of one's own are not kept; `locks` is class 2.
  for (const name of ["basic", "copymove", "http"]) {
    withProgram(join(litmusDir, name))(name, async () => {
      const out = await run([join(litmusDir, name), "--htdocs=/usr/share/litmus/htdocs", url]);
      expect(out).toContain("0 failed");
    });
  }
});
