/** A container's stand-in as a host process of its own: `bun upstream-process.ts NAME`; prints its port. */
const nodeName = process.argv[2] ?? "";

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    if (request.method === "PUT") return new Response(`${nodeName} ${await request.text()}`);
    return new Response(nodeName);
  },
});
console.log(server.port);
export {};
