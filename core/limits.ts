/** Every limit and timing of dvs, one line each, with the reason. Times in milliseconds, sizes in bytes. */

export const KiB = 1024;
export const MiB = 1024 * KiB;

// Names
/** A DNS label, so that an instance's name can be a host name. */
export const nameCharsMax = 63;

// Store: the intersection of what every driver can do (etcd's defaults are the narrowest)
export const txnOperationsMax = 100;
export const storeValueBytesMax = 1 * MiB;
export const leaseTtlSecondsMin = 2;
/** History kept for watchers before the leader compacts it. */
export const storeHistoryMs = 5 * 60_000;

// Liveness of nodes, judged by the coordinator
/** An agent's heartbeat; small enough that a stopped node is seen within two seconds. */
export const heartbeatMs = 500;
/** A node without heartbeats for this long is `down`: its containers no longer count as ready. */
export const nodeDownMs = 2_000;
/** A container on a node that is down for this long gets a place on another node. */
export const replaceAfterMs = 30_000;

// Leadership of coordinators
export const leaderRenewMs = 500;
export const leaderStaleMs = 2_500;

// Containers
export const containerReadyTimeoutMs = 10_000;
export const containerStopGraceMs = 5_000;
export const restartBackoffMinMs = 100;
export const restartBackoffMaxMs = 30_000;
/** A container that ran this long starts again with the smallest back-off. */
export const restartBackoffResetMs = 60_000;

// Ingress
/** A stopped machine still accepts TCP, so health is what a probe says; DESIGN.md section 10 wants them this close. */
export const probeIntervalMs = 250;
export const probeTimeoutMs = 250;
export const probesFailedMax = 2;
export const headBytesMax = 16 * KiB;
export const headReadTimeoutMs = 10_000;
/** The largest body that is kept so that an idempotent request can be sent again. */
export const replayBodyBytesMax = 64 * KiB;
export const retryBudgetShare = 0.1;

// Control plane
export const requestBodyBytesMax = 1 * MiB;
export const eventsKeptMax = 10_000;
export const nodeCertificateDays = 30;

// Images
export const imageFilesMax = 1_000_000;
export const blobBytesMax = 4 * 1024 * MiB;
