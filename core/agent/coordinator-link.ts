/**
 * All that an agent asks of its coordinators, so that the agent's parts need neither TLS nor HTTP. The driver is
 * `transport-link.ts`; tests give a coordinator of their own. Every call rejects with a DvsError; none of them
 * retries: `link.ts` and the others decide when to try again.
 */
import type {
  ChangeAnswer,
  ChangeProposal,
  Heartbeat,
  HeartbeatAnswer,
  RecordProposal,
  RecordsFollow,
  ReplicaExit,
  ReplicaRegistration,
  StateOf,
  ToAgent,
} from "../agent-protocol.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import type { Remote } from "../image/remote.ts";

export interface CoordinatorLink {
  /** The stream of messages; ends or throws when it breaks. Aborting the signal ends it. */
  messages(signal: AbortSignal): AsyncIterable<ToAgent>;
  heartbeat(heartbeat: Heartbeat, signal: AbortSignal): Promise<HeartbeatAnswer>;
  /** PEM of the node's own certificate, renewed. */
  renewNodeCertificate(csr: string, signal: AbortSignal): Promise<string>;
  containerCertificate(
    uid: string,
    csr: string,
    signal: AbortSignal,
  ): Promise<{ certificate: string; authority: string }>;
  /** Index of the record. UNAVAILABLE: it was not ordered. OUTCOME_UNKNOWN: it may be. FORBIDDEN: not this node's. */
  proposeRecord(uid: string, proposal: RecordProposal, signal: AbortSignal): Promise<number>;
  followRecords(uid: string, follow: RecordsFollow, signal: AbortSignal): Promise<void>;
  /** An exit certificate. */
  containerExited(uid: string, incarnation: string, signal: AbortSignal): Promise<void>;
  /**
   * For state processes: asked of one coordinator after another until one answers, and of others beside one that is
   * silent, since a takeover cannot wait for the one that acts. UNAVAILABLE: none was reached, and nothing was done.
   */
  state: {
    read(of: StateOf, signal: AbortSignal): Promise<ReplicaSet>;
    register(registration: ReplicaRegistration, signal: AbortSignal): Promise<void>;
    /** OUTCOME_UNKNOWN, TIMEOUT: it may have been made. */
    change(proposal: ChangeProposal, signal: AbortSignal): Promise<ChangeAnswer>;
    exit(exit: ReplicaExit, signal: AbortSignal): Promise<void>;
    /** Whether the data of this node's replica may be removed. */
    gone(of: StateOf, signal: AbortSignal): Promise<boolean>;
  };
  /** What images are pulled from. */
  images: Pick<Remote, "manifest" | "fetch">;
  /** Sends the bytes that a `logs` message asked for; resolves when the coordinator has taken them all. */
  sendStream(id: string, body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** The bytes that a `restore` message brings. */
  fetchStream(id: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /** `host:port` of the coordinator that is asked now. */
  address(): string;
  /** Another coordinator from now on: the one at `from` does not answer as it should. Nothing when it is not asked any more. */
  rotate(from: string): void;
  /** All coordinators there are, at least one. Requests to one that is not among them end. */
  setAddresses(addresses: readonly string[]): void;
  close(): void;
}
