/** Two ports in a row that are free on an address, where somebody wants any: for clients and for peers of an etcd. */
import { createServer } from "node:net";
import { DvsError } from "../../errors.ts";

const attemptsMax = 20;

/** Somebody may take them before they are used; etcd says so then. */
export async function freePortPair(host: string): Promise<number> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const first = await tryPort(host, 0);
    if (first !== null && first < 65_535 && (await tryPort(host, first + 1)) !== null) return first;
  }
  throw new DvsError("CONFLICT", `Cannot find two free ports in a row on ${host}. Give --ha-port.`);
}

function tryPort(host: string, port: number): Promise<number | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(null));
    server.listen(port, host, () => {
      const { port: taken } = server.address() as { port: number };
      server.close(() => resolve(taken));
    });
  });
}
