/** Strangers at TLS ports: raw requests with any certificate, and servers that pretend to be a coordinator. */
import { createServer, type Server } from "node:tls";
import { connect } from "node:tls";
import type { AddressInfo } from "node:net";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Authority } from "../../core/trust/authority.ts";
import { issueCertificate } from "../../core/trust/authority.ts";
import { createKeyAndCsr } from "../../core/trust/key.ts";
import type { TestNode } from "./cluster.ts";

/** PEM both. */
export interface Pair {
  certificate: string;
  key: string;
}

/** The certificate of the node itself. */
export function nodePair(node: TestNode): Pair & { clusterCa: string } {
  return JSON.parse(readFileSync(join(node.dataDir, "certificates.json"), "utf8")) as Pair & {
    clusterCa: string;
  };
}

/** The certificate of an instance's container on the node. */
export function containerPair(node: TestNode, uid: string): Pair {
  return JSON.parse(readFileSync(join(node.dataDir, "run/c", uid, "tls.json"), "utf8")) as Pair;
}

/** `host:port` of the agents' port. */
export function agentsPort(node: TestNode): string {
  const identity = JSON.parse(readFileSync(join(node.dataDir, "identity.json"), "utf8")) as {
    agentAddresses: string[];
  };
  return identity.agentAddresses[0]!;
}

export async function madeBy(authority: Authority, uri: string): Promise<Pair> {
  const { key, csr } = await createKeyAndCsr("stranger");
  return { key, certificate: await issueCertificate(authority, { csr, uri, days: 1 }) };
}

/** The status of the answer to one request, or null when the server refused to talk. Trusts whatever it meets. */
export async function ask(host: string, port: number, path: string, pair?: Pair): Promise<number | null> {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(await answerOf(host, port, path, pair))?.[1];
  return status === undefined ? null : Number(status);
}

/** All that the server says. */
export function answerOf(host: string, port: number, path: string, pair?: Pair): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(pair ? { cert: pair.certificate, key: pair.key } : {}),
    });
    const done = () => resolve(answer);
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on("data", (d: Uint8Array) => (answer += new TextDecoder().decode(d)));
    socket.on("error", done);
    socket.on("close", done);
    socket.on("secureConnect", () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    );
  });
}

/** A server with somebody else's certificate that keeps every byte it is sent. */
export async function impostor(pair: Pair, host: string, port = 0) {
  let received = "";
  let connections = 0;
  const server: Server = createServer({ cert: pair.certificate, key: pair.key }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (d: Uint8Array) => {
      received += new TextDecoder().decode(d);
      const body = `{"agentAddresses":[]}`;
      socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
    });
  });
  // Whoever sees through it leaves before the handshake ends.
  server.on("connection", () => (connections += 1));
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(port, host, () => resolve()));
  return {
    address: `${host}:${(server.address() as AddressInfo).port}`,
    received: () => received,
    connections: () => connections,
    close: () => server.close(),
  };
}
