import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FromIngress, ToIngress } from "../../../core/ingress/control.ts";
import { Client, eventually, startUpstream, statusOf, tableOf } from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

function runDir(): string {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  open.push({ close: () => rmSync(dir, { recursive: true, force: true }) });
  return dir;
}

const main = JSON.stringify(join(import.meta.dir, "../../../core/ingress/main.ts"));

/** An ingress in a host process of its own, as an agent starts it. */
function startProcess(dir: string) {
  const child = Bun.spawn(
    [
      process.execPath,
      "--no-install",
      "-e",
      `const { runIngress } = await import(${main}); try { await runIngress({ runDir: ${JSON.stringify(dir)} }); } catch (e) { console.error(e.message); process.exit(4); } process.exit(0);`,
    ],
    { stderr: "pipe" },
  );
  open.push({ close: () => (child.kill("SIGKILL"), child.exited) });
  return child;
}

/** An agent's link. */
class Agent {
  readonly messages: FromIngress[] = [];
  #socket: Socket | null = null;
  readonly #path: string;

  constructor(dir: string) {
    this.#path = join(dir, "ingress.sock");
    open.push({ close: () => this.close() });
  }

  async link(): Promise<this> {
    for (let up = false; !up;) {
      up = await new Promise<boolean>((resolve) => {
        const socket = connect(this.#path, () => resolve(true));
        socket.on("error", () => resolve(false));
        this.#socket = socket;
      });
      if (!up) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    let text = "";
    this.#socket!.on("data", (bytes: Buffer) => {
      const lines = (text + bytes.toString()).split("\n");
      text = lines.pop()!;
      for (const line of lines) this.messages.push(JSON.parse(line) as FromIngress);
    });
    await eventually(() => this.messages.length > 0, "hello");
    return this;
  }

  send(message: ToIngress): void {
    this.sendText(JSON.stringify(message));
  }

  sendText(line: string): void {
    this.#socket!.write(`${line}\n`);
  }

  close(): void {
    this.#socket?.destroy();
  }

  last<T extends FromIngress["type"]>(type: T): Extract<FromIngress, { type: T }> | undefined {
    return this.messages.findLast((m): m is Extract<FromIngress, { type: T }> => m.type === type);
  }
}

async function get(port: number): Promise<number> {
  const c = new Client(port);
  try {
    c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    return statusOf((await c.responses(1))[0]!);
  } finally {
    c.close();
  }
}

async function freePort(): Promise<number> {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = probe;
  probe.stop();
  return port;
}

test("an agent is greeted, gives a table, hears of ports and counters, goes and comes back; the ingress serves on", async () => {
  const dir = runDir();
  const upstream = await startUpstream("a");
  open.push(upstream);
  const child = startProcess(dir);
  const agent = await new Agent(dir).link();
  expect(agent.messages[0]).toMatchObject({ type: "hello", pid: child.pid });
  expect(statSync(dir).mode & 0o777).toBe(0o700);

  const port = await freePort();
  agent.send({ type: "table", table: tableOf([upstream.at], { port }) });
  await eventually(() => agent.last("ports")?.ports[0]?.state === "open", "the port is open");
  expect(await get(port)).toBe(200);
  await eventually(() => agent.last("stats")?.requests === 1, "the request is counted");
  expect(agent.last("stats")!.upstreams).toEqual([
    { uid: "u1", node: "a", incarnation: "a-1", healthy: true, reason: "", requests: 1 },
  ]);

  agent.close();
  expect(await get(port)).toBe(200);

  // What is not understood does no harm, and two agents at a time get the same.
  const second = await new Agent(dir).link();
  const third = await new Agent(dir).link();
  second.sendText("not json");
  second.sendText('{"type":"table","table":{}}');
  second.sendText('{"type":"news from the future"}');
  expect(second.messages.map((m) => m.type).slice(0, 2)).toEqual(["hello", "ports"]);
  expect(second.last("ports")!.ports[0]!.state).toBe("open");
  expect(await get(port)).toBe(200);
  second.send({ type: "table", table: { ...tableOf([]), routes: [] } });
  await eventually(() => third.last("ports")?.ports.length === 0, "the other hears it");

  third.send({ type: "stop", graceMs: 1_000 });
  expect(await child.exited).toBe(0);
}, 15_000);

test("one ingress per run directory; a dead one's socket is no obstacle", async () => {
  const dir = runDir();
  const first = startProcess(dir);
  await new Agent(dir).link();
  const second = startProcess(dir);
  expect(await second.exited).toBe(4);
  expect(await new Response(second.stderr).text()).toContain("one runs there already");
  first.kill("SIGKILL");
  await first.exited;
  const third = startProcess(dir);
  const agent = await new Agent(dir).link();
  expect(agent.last("hello")!.pid).toBe(third.pid);
  third.kill("SIGTERM");
  expect(await third.exited).toBe(0);
}, 15_000);

test("a run directory that does not exist", async () => {
  const child = startProcess(join(runDir(), "none"));
  expect(await child.exited).toBe(4);
  expect(await new Response(child.stderr).text()).toContain("there is no such directory");
});
