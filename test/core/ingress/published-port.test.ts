import { expect, test } from "bun:test";
import { once } from "node:events";
import { createServer } from "node:net";
import { Ingress } from "../../../core/ingress/ingress.ts";
import { Client, eventually, startUpstream, statusOf, tableOf } from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

function newIngress() {
  let changes = 0;
  const ingress = new Ingress({ portsChanged: () => changes++ });
  open.push({ close: () => ingress.stop(0) });
  return { ingress, changes: () => changes };
}

async function occupiedPort() {
  const server = createServer((socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.close() });
  return { server, port: (server.address() as { port: number }).port };
}

test("a port that somebody else has is reported in words, and opened when it is free", async () => {
  const { server, port } = await occupiedPort();
  const { ingress, changes } = newIngress();
  await ingress.apply(tableOf([], { port }));
  expect(ingress.ports).toEqual([
    { port, uid: "u1", state: "failed", reason: `port ${port} on 127.0.0.1 is in use by another program` },
  ]);
  const before = changes();
  server.close();
  await eventually(() => ingress.ports[0]!.state === "open", "the port is open");
  expect(changes()).toBeGreaterThan(before);
});

test("the same port twice: the second program does not get it", async () => {
  const { ingress } = newIngress();
  await ingress.apply(tableOf([]));
  const port = ingress.boundPort(0);
  const other = newIngress().ingress;
  await other.apply(tableOf([], { port }));
  expect(other.ports[0]!.state).toBe("failed");
});

test("an address of another machine", async () => {
  const { ingress } = newIngress();
  const table = tableOf([]);
  table.node.address = "192.0.2.1";
  await ingress.apply(table);
  expect(ingress.ports[0]!.reason).toBe("192.0.2.1 is not an address of this machine");
});

test("a port that goes from the table closes: what is under way ends, nothing new begins", async () => {
  const upstream = await startUpstream("a", (seen) =>
    setTimeout(() => seen.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 100),
  );
  const { ingress } = newIngress();
  open.push(upstream);
  await ingress.apply(tableOf([upstream.at]));
  const port = ingress.boundPort(0);
  const idle = new Client(port);
  const busy = new Client(port);
  open.push(idle, busy);
  busy.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await eventually(() => upstream.seen.length === 1, "the request is under way");
  const table = tableOf([upstream.at]);
  await ingress.apply({ ...table, routes: [] });
  expect(ingress.ports).toEqual([]);
  await idle.end();
  expect(await busy.end()).toEndWith("Connection: close\r\n\r\nok");
  const late = new Client(port);
  open.push(late);
  expect(await late.end()).toBe("");
});

test("a port that is closed and published again opens at once, beside old connections", async () => {
  const upstream = await startUpstream("a", null);
  const { ingress } = newIngress();
  open.push(upstream);
  const { server, port } = await occupiedPort();
  server.close();
  await once(server, "close");
  await ingress.apply(tableOf([upstream.at], { port }));
  const old = new Client(port);
  open.push(old);
  old.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  await eventually(() => upstream.seen.length === 1, "the request is under way");
  await ingress.apply({ ...tableOf([]), routes: [] });
  await ingress.apply(tableOf([], { port, uid: "u2", instance: "other" }));
  expect(ingress.ports).toEqual([{ port, uid: "u2", state: "open", reason: "", routed: false }]);
  const c = new Client(port);
  open.push(c);
  c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const [response] = await c.responses(1);
  expect(statusOf(response!)).toBe(503);
  expect(response).toContain('"other"');
  upstream.seen[0]!.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold");
  expect(await old.end()).toEndWith("old");
});

test("stop waits for what is under way, and no longer than it may", async () => {
  const upstream = await startUpstream("a", (seen) =>
    setTimeout(() => seen.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"), 100),
  );
  const stuck = await startUpstream("b", null);
  open.push(upstream, stuck);
  for (const [at, wanted] of [
    [upstream, "done"],
    [stuck, ""],
  ] as const) {
    const { ingress } = newIngress();
    await ingress.apply(tableOf([at.at]));
    const c = new Client(ingress.boundPort(0));
    open.push(c);
    c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await eventually(() => at.seen.length === 1, "the request is under way");
    await ingress.stop(at === stuck ? 50 : 5_000);
    expect(await c.end()).toEndWith(wanted);
  }
});
