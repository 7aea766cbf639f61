/** Deno's streams are those of node:net. */
export { connect, listen } from "../node-tcp.ts";
