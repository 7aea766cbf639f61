/**
 * How much ingress takes on at once, with the reasons. One object, so that tests can run out of it with few sockets.
 * Times in milliseconds.
 *
 * What they guard against: a request that finds no free connection dials one, a TLS handshake costs either side
 * about 1 ms of CPU, so a stall of a second at 2,000 requests/s made two thousand handshakes, which made the next
 * stall. So connections are opened a few at a time, and requests wait in line for whichever comes first, a
 * connection that another request is done with or a new one.
 */
export interface LoadLimits {
  /** To one upstream, tunnels aside. */
  upstreamConnectionsMax: number;
  /** Being established to one upstream at once… */
  connectingMax: number;
  /** …while it has fewer open than this. */
  plentyOpen: number;
  connectingMaxOfPlenty: number;
  /** A connection that was not established within this time counts as refused. */
  connectTimeoutMs: number;
  /** An upstream that refused a connection is not asked for the next one before. */
  connectAgainMs: number;
  /** Kept open to each upstream of a busy instance. */
  warmConnections: number;
  /** Requests of one instance that wait for a connection… */
  waitingMax: number;
  /** …and for how long, before they are answered 503… */
  waitingMs: number;
  /** …unless the line has moved for as long as this without coming to its end: then more come than can be served… */
  standingMs: number;
  /** …and they wait for so long only. */
  standingWaitMs: number;
  /** When somebody has waited for so long, those upstreams that still count as healthy cannot carry the load alone. */
  crowdedMs: number;
  /** Sockets of clients in one ingress; each needs up to one more to an upstream. */
  clientsMax: number;
  /** Beyond clientsMax, so that clients are told 503; those beyond that, too, are reset. */
  surplusClientsMax: number;
  /** A client's connection without a request for so long may be closed in favour of a new one. */
  clientIdleMinMs: number;
}

export const loadLimits: LoadLimits = {
  // A container is one event loop: some dozens keep it busy. The rest is for requests that wait inside of it (long
  // polls, event streams), which hold a connection each. Envoy's default, too.
  upstreamConnectionsMax: 1_024,
  // Eight handshakes are 8 ms of a core on either side: a beginning that is quick and is not felt.
  connectingMax: 8,
  // As many as keep a container busy; what it needs beyond them it needs slowly.
  plentyOpen: 64,
  connectingMaxOfPlenty: 2,
  // Nobody is bound to one attempt, so it may be long; probes call a stopped upstream failed much earlier.
  connectTimeoutMs: 2_000,
  connectAgainMs: 50,
  // With the first handshakes of a failover still to come, four answer some thousands of short requests a second.
  warmConnections: 4,
  // What 2,000 requests/s bring in two seconds. About 4 KiB each, and what came of a body, 64 KiB at most.
  waitingMax: 4_096,
  // Longer than probes take to call a stopped upstream failed (750 ms) and handshakes elsewhere take after that;
  // shorter than people wait.
  waitingMs: 3_000,
  // After a stall of a second the line is done with in less. When it is not, long waits help nobody: each request
  // would be answered as late as its client bears, and the line would outlast the overload by as much.
  standingMs: 1_000,
  standingWaitMs: 1_000,
  crowdedMs: 500,
  clientsMax: 8_192,
  surplusClientsMax: 4_096,
  // Longer than a client needs to send the request for which it opened the connection.
  clientIdleMinMs: 500,
};
