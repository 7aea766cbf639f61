/** Limits of the ingress's data path, one line each, with the reason (load-limits.ts: how much of it at once). Times in milliseconds, sizes in bytes. */
import { KiB } from "../limits.ts";

/** A keep-alive connection without a request. Longer than a browser's pauses, short enough to free sockets. */
export const clientIdleMs = 60_000;
/** A client that sends or takes nothing for this long in the middle of a message. */
export const clientStallMs = 30_000;
/** How long the rest of a refused request is read and thrown away, so that its client can read the refusal. */
export const lingerMs = 2_000;
export const lingerBytesMax = 1024 * KiB;
/** A client beyond those that may be served has this long to send its request, which is answered 503. */
export const surplusIdleMs = 1_000;
/** What is read ahead of a request under way: pipelined requests, bytes that wait for a connection. */
export const readAheadBytesMax = 64 * KiB;
/** As many as a load of 20,000 requests/s of 5 ms each keeps busy. */
export const upstreamIdleConnectionsMax = 128;
/** Shorter than servers keep them (Bun.serve 10 s), so that it is rarely they who close. */
export const upstreamIdleMs = 8_000;
/** POST and PATCH cannot be sent again, so they do not take the risk of a connection that is closing. */
export const unsafeMethodIdleMs = 1_000;
/** A request on an upstream that probes call failed, and that may not be sent again, is waited for so long. */
export const failedUpstreamWaitMs = 10_000;
/** Resolution of probes, and of the time that requests wait for a connection. */
export const healthTickMs = 25;
/** Resolution of all other deadlines. */
export const sweepMs = 250;
/** A tunnel has no other sign that its peer is gone. */
export const tunnelKeepAliveMs = 60_000;
/** See RetryBudget. */
export const retriesPerSecond = 10;
export const retryStockMax = 1_000;
/** Sent to all upstreams together; with more than 250 of them probes are further apart. */
export const probesPerSecondMax = 1_000;
/** Answered by the container's host side, before its VOS. */
export const healthPath = "/.well-known/dvs/health";
/** A port that could not be opened is tried again this often. */
export const portRetryMs = 1_000;
/** How often agents are told the counters, when they changed. */
export const statsMs = 1_000;
/** After SIGTERM; an agent that stops an ingress says itself how long. */
export const stopGraceMs = 5_000;
