import { createServer } from "node:net";

/** A TCP port that nobody has at this moment on this machine, for ports that must be known before they are opened. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "0.0.0.0", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
