/**
 * Which members of a store are still there. Whoever takes a connection is, also where it is too slow to answer or has
 * no majority: a member that is wrongly taken for dead would make two stores. One whose etcd is just being started again
 * refuses connections for a moment, so each is asked several times.
 */
import { connect } from "node:net";
import { pause } from "../pause.ts";

const attempts = 4;
const attemptMs = 2_000;
/** Above the back-off of an etcd that has ended now and then. */
const betweenMs = 700;

/** Those of these URLs at which somebody listens. Rejects with the signal's reason. */
export async function whoLives(urls: readonly string[], signal: AbortSignal): Promise<string[]> {
  const lives = await Promise.all(urls.map((url) => isThere(url, signal)));
  return urls.filter((_url, i) => lives[i]);
}

async function isThere(url: string, signal: AbortSignal): Promise<boolean> {
  for (let i = 0; i < attempts; i++) {
    if (i > 0) await pause(betweenMs, signal);
    signal.throwIfAborted();
    if (await takesConnections(url)) return true;
  }
  return false;
}

function takesConnections(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) });
    const told = (taken: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(taken);
    };
    const timer = setTimeout(() => told(false), attemptMs);
    socket.once("connect", () => told(true));
    socket.once("error", () => told(false));
  });
}
