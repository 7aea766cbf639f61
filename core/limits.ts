/** Every limit and timing of dvs, one line each, with the reason. Times in milliseconds, sizes in bytes. */

export const KiB = 1024;
export const MiB = 1024 * KiB;

// Names
/** A DNS label, so that an instance's name can be a host name. */
export const nameCharsMax = 63;

// Store: the intersection of what every driver can do (etcd's defaults are the narrowest)
export const txnOperationsMax = 100;
export const storeValueBytesMax = 1 * MiB;
/** Keys and values of one transaction together: etcd refuses requests over 1.5 MiB. */
export const storeTxnBytesMax = 1 * MiB + 256 * KiB;
export const storeKeyCharsMax = 512;
export const leaseTtlSecondsMin = 2;
/** etcd's own bound. */
export const leaseTtlSecondsMax = 9_000_000_000;
/** History kept for watchers before the leader compacts it. */
export const storeHistoryMs = 5 * 60_000;

// Liveness of nodes, judged by the coordinator
/** An agent's heartbeat; small enough that a stopped node is seen within two seconds. */
export const heartbeatMs = 500;
/** A node without heartbeats for this long is `down`: its containers no longer count as ready. */
export const nodeDownMs = 2_000;
/** A container on a node that is down for this long gets a place on another node. */
export const replaceAfterMs = 30_000;
/** A node that cannot open a port for this long fails the creation of the instance: shorter could be a rebind. */
export const portFailedMs = 2_000;
/** A controller asks the store again this long after an answer that was lost or refused, unless the watch is faster. */
export const txnRetryMs = 500;

// Replicas of an instance's OS state, as the coordinator sees them
/** A replica whose node is gone for this long is replaced on another node: copying it costs more than a container. */
export const replicaReplaceAfterMs = 5 * 60_000;
export const replicaReplaceAfterMsMin = 1_000;
export const replicaReplaceAfterMsMax = 7 * 24 * 60 * 60_000;
/** Ids of changes by which a proposal that is sent again is known: far more than are made while one is under way. */
export const changeIdsKept = 32;
/** Certificates of a node's state processes; only the last can be in a configuration that is being replaced. */
export const exitsKept = 8;
/** A compare-and-set without an answer for this long has an unknown outcome; below `stateAttemptMs`. */
export const changeSettleMs = 1_500;
/** What a replica asks goes to the next coordinator as well when one has not answered for this long: far above a write, */
export const stateBesideMs = 300;
/** one that has not answered for this long does not count any more, */
export const stateAttemptMs = 2_000;
/** and it is given up after this: three coordinators have been asked. */
export const stateRequestTimeoutMs = 7_000;

// Leadership of coordinators
/** A leader's beat, and how often rivals look. */
export const leaderRenewMs = 300;
/** Takeover within three seconds of a machine's death, together with what the successor reads first. */
export const leaderStaleMs = 1_500;
/** How long a request waits for a coordinator that acts: longer than a takeover. */
export const leaderWaitMs = 5_000;
/** Each coordinator looks this often which others there are. */
export const membersRefreshMs = 1_000;
/** The acting coordinator asks the others this often how they are, and calls one that does not answer down after. */
export const peerProbeMs = 2_000;
export const peerDownMs = 6_000;
/** Coordinators of a cluster; etcd advises at most seven members. */
export const coordinatorsMax = 16;
/** A push is acknowledged when a second coordinator has the image, or after this long without one. */
export const secondCopyTimeoutMs = 20_000;

// Instances
/** A creation names each port twice (compare, put) in one transaction of at most 100 operations. */
export const publishedPortsMax = 32;

// Containers
/** A line from an agent over a control socket: the View of a large instance is the longest that comes. */
export const controlLineCharsMax = 8 * MiB;
export const containerReadyTimeoutMs = 10_000;
/** A state process brings its database up to its log first. */
export const stateReadyTimeoutMs = 5 * 60_000;
/** After `ready`, before a container that serves without its kernel loads it. */
export const kernelStartDelayMs = 500;
export const containerStopGraceMs = 5_000;
export const restartBackoffMinMs = 100;
export const restartBackoffMaxMs = 30_000;
/** A container that ran this long starts again with the smallest back-off. */
export const restartBackoffResetMs = 60_000;
/** A stopping container goes on serving until no request came for this long: every ingress has probed it by then. */
export const drainQuietMs = 300;
/** A failed container waits this long for an agent that asks why, then ends. */
export const failedLingerMs = 3_000;
/** How long a request waits for a missing or corrupted blob to be fetched anew. */
export const blobRepairTimeoutMs = 15_000;
/** Logs of a container: bytes of one file, and how many older ones are kept beside it. */
export const logBytesMax = 16 * MiB;
export const logFilesKept = 3;

// Agents
/** A container that an agent adopts and that does not answer for this long is killed and started anew. */
export const adoptHelloTimeoutMs = 3_000;
/** Each container's control socket is tried this often; one that has not answered after as long again is hung. */
export const livenessIntervalMs = 5_000;
/** From SIGTERM, at the end of a stop's grace, to SIGKILL. */
export const killMarginMs = 500;
/** An image or a certificate that could not be had is asked for again. */
export const prepareRetryMs = 1_000;
/** How long a starting agent waits for a coordinator's word before it goes by the last one on disk. */
export const desiredFromDiskAfterMs = 1_000;
/** A reconnecting agent waits a random share of a time that doubles between these. */
export const reconnectMinMs = 50;
export const reconnectMaxMs = 2_000;
/** A stream from a coordinator without a line for this long is dead; the coordinator pings more often. */
export const streamSilentMs = 5_000;
export const agentRequestTimeoutMs = 2_000;

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
/** A token that expired or was used up is listed for this long, so that its refusal can be understood. */
export const tokenKeptMs = 7 * 24 * 60 * 60_000;
export const nodeCertificateDays = 30;

// Images
export const imageFilesMax = 1_000_000;
export const blobBytesMax = 4 * 1024 * MiB;
/** A million entries of about 110 bytes, with room for long paths. */
export const manifestBytesMax = 256 * MiB;
/** As Linux's PATH_MAX and NAME_MAX, so that every image can be unpacked. */
export const imagePathBytesMax = 4_096;
export const imageNameBytesMax = 255;
/** Symbolic links followed in one look-up, as Linux. */
export const symlinkHopsMax = 40;
/** The largest file that is read into memory at once; larger ones are streamed. */
export const readBytesMax = 256 * MiB;
/** Files up to here are verified before the first byte of a stream: a tenth of a second. Larger ones while it runs. */
export const verifyFirstBytesMax = 64 * MiB;
/** Blobs of a pull or push that wait for one group fsync; a kill loses at most these. */
export const stagedBlobsMax = 1_024;
export const stagedBytesMax = 256 * MiB;
/** A blob that nothing names is kept this long, since the image that names it may still be on its way. */
export const blobGraceMs = 60 * 60_000;
/** Digests in one request: 72 bytes each, below requestBodyBytesMax. */
export const digestsPerRequestMax = 10_000;
export const packFramesMax = 100_000;
/** Pieces in which a push and a pull go over the wire: what a broken connection costs at most. */
export const pushPackBytes = 64 * MiB;
export const pullPackBytes = 8 * MiB;
export const pullPackBlobs = 512;
export const pullConcurrency = 4;
/** A transfer that brings no byte for this long counts as broken. */
export const transferStallMs = 30_000;
export const transferAttemptsMax = 5;
/** Scrubbing reads this much a second: 100 GB in eighty minutes, without being felt by what is served. */
export const scrubBytesPerSecond = 20 * MiB;

// Kernels of an instance: messages and calls
/** Groups of endpoints that a VOS can tell apart in privileges: as many as bits of an integer that is compared fast. */
export const groupsMax = 31;
/** Encoded body of one message; what is larger is copied through a grant. */
export const messageBytesMax = 256 * KiB;
/** Per sending kernel and destination: messages and bytes that the destination's process has not taken. */
export const windowMessages = 256;
export const windowBytes = 512 * KiB;
/** Destinations on other kernels that a kernel remembers: some 200 bytes each; one that was forgotten costs a question. */
export const outletsIdleMax = 16_384;
/** Calls of one process under way, among them those that wait in its kernel for room in a window. */
export const processCallsMax = 4_096;
/** Sources on other kernels whose last notification a process's kernel remembers, so as to count each once. */
export const notifiersKept = 1_024;
/** Outside of a process's calls, what a kernel keeps per process. */
export const processGrantsMax = 1_024;
/** A copy goes in frames of this size, and so much of it is on its way at most: beside it a call waits for one frame. */
export const copyFrameBytes = 64 * KiB;
export const copyOutstandingBytes = 128 * KiB;
export const copyBytesMax = 4 * 1024 * MiB;
/** Calls asked about in one audit: those of one window and of the processes behind it. */
export const auditCallsMax = 8_192;
/** A caller whose time is up waits this long for the other kernel's word whether its message was taken. */
export const cancelGraceMs = 100;
/** Slots that a kernel leases at a time: one record for so many binds. */
export const slotsPerLease = 64;
/** Generations of a slot within one lease; the range of all is 2^36. */
export const generationsPerLease = 2 ** 20;
/** Incarnations remembered after they have gone, so that a join that comes late is refused. */
export const goneIncarnationsKept = 16_384;
export const endpointNameCharsMax = 255;

// Kernels of an instance: leases (DESIGN.md sections 4 and 5.2)
/** L: the grantor is alive while every other member acknowledged a beacon less than this ago. */
export const grantorAliveMs = 800;
/** G > L: a member neither proposes itself nor acts as grantor before this, after the last beacon it acknowledged. */
export const grantorPromiseMs = 1_100;
/**
 * A member that no beacon has reached waits this long instead: longer than a grantor that is cut off from the records
 * alone. Only where all other members have died, and nobody certifies it, does anybody wait for it.
 */
export const newcomerPromiseMs = 10_000;
/** So long, at least, the grantor gives leases without hearing a new member: a dead one is removed by then. */
export const newcomerExemptMs = 4_000;
/** A new member that is not heard for so long is removed: time to connect on a busy machine, and for the record. */
export const newcomerSilenceMs = 3_000;
export const kernelLeaseMs = 1_000;
/** Clocks that differ by 1 % count as equal over one lease; the grantor waits so much longer. */
export const leaseDriftMs = 20;
/** Several in one L, so that a lost one costs nothing. */
export const beaconMs = 150;
/** Freezing this long before the lease ends allows for a step of this length between two looks at the clock. */
export const leaseMarginMs = 100;
/** A kernel for which something is due is told the time this often. Deadlines are late by at most this, never early. */
export const kernelTickMs = 10;
/**
 * One that waits for nothing, at least this often. L/4: a stop of this host process as long as that on top of it does
 * not lapse the leases, one of L/2 always does.
 */
export const kernelIdleTickMs = 200;
/** A record that could not be proposed is proposed again. */
export const proposeRetryMs = 250;

// Kernels of an instance: their records in the store
/** Records that are kept one by one for followers; more are folded into a snapshot once all have read them. */
export const recordsKept = 512;
/** Records in one transaction that puts a snapshot and deletes them; beside them are the snapshot and the leader's key. */
export const recordsPerFold = 96;
/** Records in one message to an agent, and from it to a container: a line of some 100 KiB. */
export const recordsPerBatch = 256;
/** Ids of folded records by which a proposal that is sent again is known. */
export const foldedIdsKept = 256;
/** An agent says how far it has read after so many records. */
export const recordsPerAck = 64;
/** Endpoints of one container that are listed at a time: some 200 KiB, well below what an agent holds unread. */
export const endpointsPerPage = 512;
/** Messages a second that a container tells of in a trace; more are left out, and counted. */
export const tracedPerSecondMax = 200;
/** A kernel that was removed, in a container that goes on, joins again after this. */
export const kernelRejoinMs = 500;
/** A stopping container waits so long for the record that its kernel has left; then its lease, or its end, tells. */
export const kernelLeaveMs = 500;
/** A proposal without an answer for this long has an unknown outcome. */
export const proposeTimeoutMs = 5_000;

// Kernels of an instance: links between two of them (core/kernel/proxy)
/** Fields before the body of any message: a head and fifteen numbers of nine bytes, with room. */
export const messageHeadBytesMax = 192;
/** A frame after its length. The largest is a message with a body. */
export const frameBytesMax = messageBytesMax + messageHeadBytesMax;
/** A frame of somebody who has not yet proved who it is. */
export const strangerFrameBytesMax = 1 * KiB;
/** Connections of strangers at a time; more are closed at once. */
export const strangersMax = 1_024;
/** From here on a body is sent from where it is, instead of being copied among small frames. */
export const ownSegmentBytes = 16 * KiB;
/** Small frames and those of copies are put together in blocks, which are also the unit of one write: two of a copy. */
export const frameBlockBytes = 2 * (copyFrameBytes + messageHeadBytesMax) + 1 * KiB;
/** Blocks that are kept for reuse, in one host process. */
export const frameBlocksKept = 32;
/** Frames and bytes of one link that the peer has not acknowledged, above which no new calls may follow. */
export const linkFramesHigh = 32_768;
export const linkBytesHigh = 4 * MiB;
/** What was received is acknowledged at the latest after so much of it, and with the next tick. */
export const ackFramesMax = 256;
export const ackBytesMax = 256 * KiB;
/** Messages of one turn of the event loop that leave together: half a microsecond each, and a write costs three. */
export const gatherFramesMax = 64;
/** A link for which something is due is told the time this often, */
export const linkTickMs = 20;
/** and one that waits for nothing at least this often. */
export const linkIdleTickMs = 300;
/** A link that has been silent for this long is asked for a sign of life, */
export const linkPingMs = 500;
/** and after this it is broken. Above a stop of the world that is no fault: a step of the loop, a page-out. */
export const linkSilentMs = 1_500;
/** From the first byte, or the dial, until both sides have proved who they are. */
export const linkHandshakeMs = 2_000;
/** A broken link is dialled again after a random share of a time that doubles between these. */
export const linkRedialMinMs = 20;
export const linkRedialMaxMs = 1_000;
/** The kernel with the higher number dials this much later, so that usually only one of both does. */
export const linkSecondDialMs = 50;
/** A gap between two ticks counts as this much silence of the peer: it was our own. */
export const linkGapMs = 400;

// OS state: links of state processes (core/state/link)
/** From the first byte until both sides have proved who they are. */
export const stateHandshakeMs = 2_000;
/** A link that has been silent for this long is asked for a sign of life, and breaks after as long again. */
export const stateSilentMs = 750;
/** One message: a batch of records, of which one may have an operation of a megabyte, with room. */
export const stateFrameBytesMax = 8 * MiB;
/** A peer that leaves this much untaken is cut off; replicas have less under way by their own bounds. */
export const stateQueueBytesMax = 64 * MiB;

// OS state: its clients (core/state/client)
/** A write or a read without an answer for this long is given up, unless the caller says otherwise. */
export const stateTimeoutMs = 10_000;
/** A client whose replica does not serve asks again, another one where there is, after this. */
export const stateRetryMs = 50;
/** Dials of a client that finds nobody: a random share of a time that doubles between these. */
export const stateRedialMinMs = 20;
export const stateRedialMaxMs = 500;
/** Beside a dial that has not led to a link for this long another replica is dialled: far above a handshake. */
export const stateSecondDialMs = 250;
/** A client's link that has been silent for this long is asked for a sign of life, and left after as long again. */
export const stateClientSilentMs = 500;
/** What a follower has not read; then it is cut off, with an error. */
export const followedMax = 65_536;

// OS state: the key-value module
export const kvKeyBytesMax = 1 * KiB;
/** With its key it has to fit into one operation (core/replica/timings.ts). */
export const kvValueBytesMax = 512 * KiB;
/** Changes of one operation that all happen or none. */
export const kvOperationsMax = 100;
/** Entries of one answer. */
export const kvListMax = 1_000;
export const kvLeaseTtlMsMax = 24 * 60 * 60_000;
/** Changes that are kept for watchers that were away. */
export const kvHistoryMax = 10_000;
export const kvHistoryBytesMax = 16 * MiB;
/** A lease ends in one step, with its keys: a few milliseconds. */
export const kvLeaseKeysMax = 1_000;

// OS state: state processes
/** A replica machine is told the time this often: its shortest time is a tenth of a second. */
export const stateTickMs = 10;
/** What one client has asked for and was not answered: more are not read from its link before. */
export const stateAskedMax = 8_192;
/** A follower that has not taken this much waits for more. */
export const stateUnsentBytesMax = 1 * MiB;
/** A name that somebody has used once (`dvs kv`) is forgotten so long after: a repetition came before. */
export const onceClientMs = 10 * 60_000;

// File system of an instance: its clients (core/files/client)
/** Bytes of one write, which is one record; what is larger goes in several. */
export const writeBytesMax = 256 * KiB;
/** Writes of one file that are under way: 4 MiB, enough to keep log and link busy. */
export const writesAheadMax = 16;
/** Bytes of one answer; what is larger is asked for in several, which come beside one another. */
export const readBytesMaxPerAsk = 1 * MiB;
export const readsAheadMax = 4;
/** Attempts of what finds each time that somebody else was faster. */
export const changedTriesMax = 64;
/** A file that stays open for so long is told to be: well before `orphanKeptMs`, after which it would be gone. */
export const openToldMs = 1_000;
export const openRetryMs = 250;
/** What was closed is told so much later, or by so many: nobody waits for it. */
export const releaseMs = 200;
export const releaseInosMax = 512;
/** What a client that is no kernel has open or locked goes when it was silent for so long; it speaks thrice as often. */
export const attendTtlMs = 30_000;

// Files of an instance (core/files)
/** As Linux's NAME_MAX, PATH_MAX, and what a symbolic link can hold. */
export const fileNameBytesMax = 255;
export const filePathBytesMax = 4_096;
export const linkTargetBytesMax = 4_095;
/** Names on a path with all links on it that are walked in one step: twice what a path without links can have. */
export const pathStepsMax = 4_096;
/** Integers up to there are exact in JavaScript and in SQLite. */
export const fileSizeMax = Number.MAX_SAFE_INTEGER;
/** Names of one file, subdirectories of one directory: as ext4. */
export const fileLinksMax = 65_000;
/** Entries of one answer: with their attributes some 100 KiB. */
export const fileEntriesMax = 1_000;
/** Pages that checksums are of: what is read at least, to check what is read. */
export const filePageBytes = 4 * KiB;
/** Bytes that follow one another in a file and in a segment are one row up to here. */
export const extentBytesMax = 256 * KiB;
/** Extents that one operation takes away by itself; more are left to the reaper. */
export const extentsPerStep = 64;
/** Rows that one step of the reaper takes away: below two milliseconds. */
export const reapedPerStep = 256;
/** What each operation that makes garbage takes of older garbage: more than it makes, so that none piles up. */
export const reapedPerOperation = 4;
/** As files beside the database: few, and each quickly made free by moving what is left of it. */
export const segmentBytes = 64 * MiB;
/** A file without a name is kept for whoever is about to open it. */
export const orphanKeptMs = 5_000;
/** Locks on one file, and those who wait for one: looked through with each change. */
export const locksPerFileMax = 1_024;
export const lockWaitersMax = 1_024;
/** Owners that are looked at when a wait might be one in a circle; beyond, it is taken for none. */
export const lockOwnersSeenMax = 256;
/** Tickets that a client has got locks by are remembered until it has had so many more. */
export const grantsKept = 4_096;
/** Things of a client that is gone which one step takes from it. */
export const takenPerStep = 256;
/** Changes of inodes that are kept for whoever follows: a megabyte. */
export const fileChangesKept = 65_536;
/** Further groups of a user: a tenth of what Linux allows, in each operation. */
export const groupsPerUserMax = 4_096;
/** Names of those who lock, and of shared offsets. */
export const lockOwnerCharsMax = 64;
/** Entries of an image in one operation: some 20 KiB, and less than two milliseconds. */
export const seedEntriesMax = 128;
/** Pieces of a segment that one operation moves. */
export const movedPiecesMax = 256;
/** Until somebody sets a quota. */
export const volumeBytesMaxDefault = 1024 * 1024 * MiB;
export const volumeInodesMaxDefault = 16 * 1024 * 1024;

// Files of an instance for those outside (core/files/remote)
/** Bytes of one frame: a small file, or a piece of a large one. */
export const fileFrameBytesMax = 1 * MiB;
/** Files whose content is asked for in one request: their paths fit into the head of one. */
export const filesPerAskMax = 256;
/** Bytes and frames of one request that brings files: what is sent again when it is lost. */
export const putBytesMax = 4 * MiB;
export const putFramesMax = 512;
/** Frames of one request that an agent carries out beside one another, those of one file in their order. */
export const putsAheadMax = 64;
/** Files of one request that an agent has read before they are taken. */
export const givesAheadMax = 8;

// Files read beside a replica (core/files/client/local-files.ts)
/** Names, and files, that are kept in mind: some 300 bytes each. */
export const localNamesMax = 65_536;
/** Entries of listings that are kept in mind: some 150 bytes each. */
export const localEntriesMax = 131_072;
/** Memory for where bytes are: one in 256 of them, or more where writes were small; 8 GiB of large files. */
export const localFileBytesMax = 32 * MiB;
