import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blobPath } from "../../../core/image/blob-file.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { createTrust, type TestTrust } from "./certificates.ts";
import { TestContainer } from "./harness.ts";
import { ask, formatRequest, open } from "./raw-http.ts";

const health = { path: "/.well-known/dvs/health" };
const containers: TestContainer[] = [];
const make = (...args: ConstructorParameters<typeof TestContainer>): TestContainer => {
  const container = new TestContainer(...args);
  containers.push(container);
  return container;
};
afterEach(async () => {
  for (const container of containers.splice(0)) await container.dispose();
});

describe("life", () => {
  test("it says hello, then that it is ready, and serves on its socket and its port", async () => {
    const container = make();
    const { link, port } = await container.start();
    const [hello, ...rest] = link.messages;
    const { pid } = container.process ?? {};
    expect(hello).toEqual({ type: "hello", uid: "u1", incarnation: "i1", generation: 1, pid: pid ?? 0 });
    expect(rest).toContainEqual({ type: "state", state: "ready", reason: "", permanent: false, port });
    expect((await container.ask()).status).toBe(200);
    expect((await ask({ port })).status).toBe(200);
    expect(await container.ask(health)).toMatchObject({ status: 200, body: Buffer.from("ready\n") });
  });

  test("what is asked of the health path is no request of the VOS", async () => {
    const container = make();
    await container.start();
    await container.ask(health);
    expect((await container.ask({ ...health, method: "POST" })).status).toBe(405);
    expect(JSON.parse((await container.ask()).body.toString())).toMatchObject({ requests: 1 });
  });

  test("SIGTERM ends it with 0 and leaves no socket", async () => {
    const container = make();
    await container.start();
    container.process?.kill("SIGTERM");
    expect(await container.exited).toBe(0);
    expect(existsSync(join(container.runDir, "http.sock"))).toBe(false);
    expect(existsSync(join(container.runDir, "control.sock"))).toBe(false);
  });

  test("its directory is closed to others", async () => {
    const container = make();
    await container.start();
    expect(statSync(container.runDir).mode & 0o777).toBe(0o700);
  });

  test("a second one in the same directory is refused, and the first goes on", async () => {
    const first = make();
    await first.start();
    first.spawn();
    expect(await first.exited).toBe(4);
    expect(first.stderr).toContain("CONFLICT");
    expect((await first.ask()).status).toBe(200);
  });

  test("of several that start at once one lives", async () => {
    const container = make();
    const rivals = [1, 2, 3, 4].map(() => {
      container.spawn();
      const { process: child, exited } = container;
      return { child, exited };
    });
    const link = await container.link();
    await link.until((m) => m.type === "state" && m.state === "ready");
    const hello = link.messages.find((m) => m.type === "hello");
    const losers = rivals.filter(({ child }) => child?.pid !== (hello?.type === "hello" ? hello.pid : 0));
    expect(await Promise.all(losers.map(({ exited }) => exited))).toEqual([4, 4, 4]);
    expect((await container.ask()).status).toBe(200);
  });

  test("after kill -9 the next one starts in the same directory", async () => {
    const container = make();
    await container.start();
    container.process?.kill("SIGKILL");
    await container.exited;
    expect(existsSync(join(container.runDir, "http.sock"))).toBe(true);
    await container.start();
    expect((await container.ask()).status).toBe(200);
  });

  test("where its port is taken it uses another", async () => {
    const first = make();
    const { port } = await first.start();
    const second = make({ listen: { host: "127.0.0.1", port } });
    const started = await second.start();
    expect(started.port).not.toBe(port);
    expect((await ask({ port: started.port })).status).toBe(200);
  });
});

describe("failures that no repetition mends are permanent", () => {
  const cases: { name: string; spec: object; reason: string }[] = [
    { name: "an unknown OS", spec: { os: "plan9" }, reason: "Known: web, hello" },
    { name: "an unknown option", spec: { options: { greetings: "x" } }, reason: "greetings" },
    { name: "a wrong value", spec: { options: { greeting: 7 } }, reason: "greeting" },
    { name: "no image where one is needed", spec: { os: "web" }, reason: "needs an image" },
  ];
  for (const { name, spec, reason } of cases) {
    test(name, async () => {
      const container = make({ spec });
      const link = await container.spawn().link();
      const state = await link.until((m) => m.type === "state" && m.state === "failed");
      expect(state).toMatchObject({ permanent: true, reason: expect.stringContaining(reason) });
      link.send({ type: "stop", graceMs: 100 });
      expect(await container.exited).toBe(2);
      expect(container.file("container.log")).toContain(reason);
    });
  }

  test("plain HTTP on an address that others reach is refused", async () => {
    const container = make({ listen: { host: "0.0.0.0", port: 0 } });
    expect(await container.spawn().exited).toBe(2);
    expect(container.stderr).toContain("loopback");
  });

  test("a boot.json that is torn is refused, and nothing of it is said", async () => {
    const container = make();
    writeFileSync(join(container.runDir, "boot.json"), '{"tls": {"key": "SECRET');
    expect(await container.spawn().exited).toBe(2);
    expect(container.stderr + container.file("container.log")).not.toContain("SECRET");
  });
});

describe("control link", () => {
  test("an agent that comes back is told everything again", async () => {
    const container = make();
    const { link, port } = await container.start();
    link.close();
    await container.ask();
    const again = await container.link();
    await again.until((m) => m.type === "state");
    expect(again.messages[0]).toMatchObject({ type: "hello", incarnation: "i1" });
    expect(again.messages).toContainEqual({
      type: "state",
      state: "ready",
      reason: "",
      permanent: false,
      port,
    });
    await again.until((m) => m.type === "stats" && m.requests === 1);
  });

  test("two agents at a time both hear of a change", async () => {
    const container = make();
    const { link } = await container.start();
    const other = await container.link();
    other.send({ type: "stop", graceMs: 500 });
    await link.until((m) => m.type === "state" && m.state === "stopping");
    await other.until((m) => m.type === "state" && m.state === "stopping");
    expect(await container.exited).toBe(0);
  });

  test("messages of unknown types and lines that are no JSON are ignored", async () => {
    const container = make();
    const { link } = await container.start();
    link.send({ type: "unknown" });
    link.raw('no json\n{"type":"stop"}\n[]\n\n');
    await container.ask();
    await link.until((m) => m.type === "stats" && m.requests === 1);
  });

  test("a line without end breaks the link and nothing else", async () => {
    const container = make();
    const { link } = await container.start();
    link.raw("x".repeat(9 * 1024 * 1024));
    expect(await failureOf(link.until(() => false))).toContain("closed");
    expect((await container.ask()).status).toBe(200);
  });
});

describe("blobs", () => {
  const page = "<h1>page</h1>";
  const pageDigest = digestOf(new TextEncoder().encode(page));

  test("a missing blob is asked for, and the request waits until it is there", async () => {
    const container = await make().useSite({ "/index.html": page });
    const path = blobPath(container.boot.blobDir, pageDigest);
    rmSync(path);
    const { link } = await container.start();
    const answer = container.ask();
    await link.until((m) => m.type === "badBlob" && m.digest === pageDigest);
    writeFileSync(path, page);
    link.send({ type: "blob", digest: pageDigest, ok: true, reason: "" });
    expect(await answer).toMatchObject({ status: 200, body: Buffer.from(page) });
  });

  test("a corrupted blob is never served", async () => {
    const container = await make().useSite({ "/index.html": page });
    writeFileSync(blobPath(container.boot.blobDir, pageDigest), "<h1>evil</h1>");
    const { link } = await container.start();
    const answer = container.ask();
    await link.until((m) => m.type === "badBlob" && m.digest === pageDigest);
    link.send({ type: "blob", digest: pageDigest, ok: false, reason: "nobody has it" });
    expect((await answer).status).toBe(503);
  });

  test("an agent that comes later is asked too", async () => {
    const container = await make().useSite({ "/index.html": page });
    rmSync(blobPath(container.boot.blobDir, pageDigest));
    const { link } = await container.start();
    const answer = container.ask();
    await link.until((m) => m.type === "badBlob");
    link.close();
    const next = await container.link();
    await next.until((m) => m.type === "badBlob" && m.digest === pageDigest);
    next.send({ type: "blob", digest: pageDigest, ok: false, reason: "gone" });
    expect((await answer).status).toBe(503);
  });
});

describe("TLS", () => {
  let trust: TestTrust;
  beforeAll(async () => {
    trust = await createTrust();
  });

  test("only clients with a certificate of the cluster's authority get an answer", async () => {
    const container = make({ tls: await trust.container() });
    const { port } = await container.start();
    const ingress = await trust.ingress();
    expect((await ask({ port, tls: ingress })).status).toBe(200);
    const stranger = await (await createTrust()).ingress();
    expect(await failureOf(ask({ port, tls: { ...stranger, ca: ingress.ca } }))).not.toBe("");
    // A container's certificate comes from the other authority: it is no ingress.
    const sibling = await trust.container();
    expect(await failureOf(ask({ port, tls: { ...sibling, ca: ingress.ca } }))).not.toBe("");
    expect(await failureOf(ask({ port }))).not.toBe("");
  });

  test("a new certificate is shown to new connections, and a bad one changes nothing", async () => {
    const container = make({ tls: await trust.container() });
    const { link, port } = await container.start();
    const renewed = await createTrust();
    link.send({ type: "tls", certificate: "nonsense", key: "nonsense", ca: "nonsense" });
    link.send({ type: "tls", ...(await renewed.container()) });
    const ingress = await renewed.ingress();
    for (;;) {
      const { status } = await ask({ port, tls: ingress }).catch(() => ({ status: 0 }));
      if (status === 200) break;
    }
    expect(container.file("container.log")).toContain("the old one stays");
  });
});

describe("stopping", () => {
  test("health says so while requests are still answered", async () => {
    const container = make();
    const { link } = await container.start();
    link.send({ type: "stop", graceMs: 5_000 });
    await link.until((m) => m.type === "state" && m.state === "stopping");
    expect((await container.ask(health)).status).toBe(503);
    const answer = await container.ask();
    expect(answer.status).toBe(200);
    expect(answer.headers["connection"]).toBe("close");
    expect(await container.exited).toBe(0);
  });

  test("a request under way is answered in full", async () => {
    const container = await make().useSite({ "/index.html": "x" }, { echo: "/echo" });
    const { link } = await container.start();
    const socket = open(container.httpSocket);
    let got = "";
    socket.on("data", (bytes) => {
      got += bytes.toString();
    });
    const closed = new Promise((resolve) => socket.on("close", resolve));
    const request = formatRequest({ method: "PUT", path: "/echo", body: "0123456789" });
    socket.write(request.subarray(0, request.length - 5));
    // Its head has arrived when another request, sent later, is answered.
    await container.ask();
    link.send({ type: "stop", graceMs: 5_000 });
    await link.until((m) => m.type === "state" && m.state === "stopping");
    await new Promise((resolve) => setTimeout(resolve, 400));
    socket.write(request.subarray(request.length - 5));
    await closed;
    expect(got).toEndWith("0123456789");
    expect(await container.exited).toBe(0);
  });

  test("after the grace it ends, whatever is under way", async () => {
    const container = await make().useSite({ "/index.html": "x" }, { echo: "/echo" });
    const { link } = await container.start();
    const socket = open(container.httpSocket);
    socket.on("error", () => undefined);
    const request = formatRequest({ method: "PUT", path: "/echo", body: "0123456789" });
    socket.write(request.subarray(0, request.length - 5));
    await container.ask();
    link.send({ type: "stop", graceMs: 200 });
    expect(await container.exited).toBe(0);
    socket.destroy();
  });

  test("a stop under load loses no request", async () => {
    const container = make();
    const { link, port } = await container.start();
    const failures: string[] = [];
    let answered = 0;
    const stop = { heard: false };
    // Clients that leave when they are told to, as an ingress does; a refused connection was never a request.
    const client = async (): Promise<void> => {
      while (!stop.heard) {
        await keepAlive(port, () => stop.heard).then(
          (n) => {
            answered += n;
          },
          (e: Error) => failures.push(e.message),
        );
      }
    };
    const clients = Array.from({ length: 8 }, client);
    while ((await container.ask()).status === 200) {
      const { requests } = JSON.parse((await container.ask()).body.toString()) as { requests: number };
      if (requests > 200) break;
    }
    link.send({ type: "stop", graceMs: 5_000 });
    await link.until((m) => m.type === "state" && m.state === "stopping");
    // As late as an ingress that learns it from its next probe.
    await new Promise((resolve) => setTimeout(resolve, 150));
    stop.heard = true;
    await Promise.all(clients);
    expect(failures).toEqual([]);
    expect(answered).toBeGreaterThan(100);
    expect(await container.exited).toBe(0);
  });
});

/** Why a promise was rejected; "" when it was not. */
function failureOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "",
    (e: Error) => e.message || "failed",
  );
}

/** Requests on one connection until the server says that it closes it; gives their number. */
function keepAlive(port: number, enough: () => boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = open({ port });
    let answered = 0;
    let waiting = true;
    let got = "";
    const next = (): void => {
      waiting = true;
      got = "";
      socket.write(formatRequest({}));
    };
    socket.on("connect", next);
    socket.on("error", reject);
    socket.on("close", () =>
      waiting ? reject(new Error(`closed in a request: ${got}`)) : resolve(answered),
    );
    socket.on("data", (bytes) => {
      got += bytes.toString();
      if (!got.includes("\r\n\r\n") || !got.endsWith("}")) return;
      answered++;
      waiting = false;
      if (/connection: close/i.test(got)) return;
      if (enough()) socket.end();
      else next();
    });
  });
}
