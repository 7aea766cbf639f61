/**
 * Who keeps an instance's OS state: the configuration of its replicas, as PacificA has it (MSR-TR-2008-25). It lies in
 * the control store, changes by compare-and-set only, and is proposed by replicas only (DESIGN.md section 5, rule 1).
 */

/** Made with a log, and lost with it: 32 hex digits. A replica whose disk is replaced is another replica. */
export type DiskId = string;

/** One life of a replica: its disk, and the host process that has it open (random, drawn at its start). */
export interface Holder {
  disk: DiskId;
  incarnation: string;
}

export interface Configuration {
  /** Rises with each change of primary, also to another incarnation of the same disk. Records and messages carry it. */
  epoch: number;
  primary: Holder;
  /**
   * The store's when this was written. A store that was restored or copied has another, and then nobody goes by its
   * configurations before `dvs coordinator recover` has written them anew: they may be older than what was acknowledged.
   */
  generation: number;
  /** The primary's disk among them; sorted. */
  inSync: DiskId[];
  /** Random, drawn by the proposer of this change: finds the own change again when the answer was lost. */
  changeId: string;
}

/** A configuration as it was read. */
export interface Versioned {
  /** The store's; raised by restore and copy. A replica refuses one that is older than the highest it has seen. */
  generation: number;
  /** Raised by one with each change; 0: there is none yet, and the first change creates it. */
  version: number;
  /** Null while `version` is 0. */
  configuration: Configuration | null;
}

/** A proposed change: carried out iff generation and version are still those. */
export interface Change {
  generation: number;
  version: number;
  configuration: Configuration;
}

export type Durability = "fsync" | "replicated";

/** What the operator has asked for, beside the replicas that the coordinator wants. */
export interface ReplicaPolicy {
  /** 1 to 5. */
  replicas: number;
  /** In-sync members below which writes fail at once. */
  minInSync: number;
  durability: Durability;
}

/** A replica that the coordinator wants: in `Configuration.inSync` or to be a learner until it is. */
export interface Replica {
  node: string;
  /** Null until its state process has registered. */
  disk: DiskId | null;
  incarnation: string | null;
  /** Where its links listen: for host processes of the same node, and for others. */
  unix: string;
  host: string;
  port: number;
}

/**
 * Says that an incarnation has ended: from the agent, which has reaped the host process or has seen (pid, start time)
 * gone. Lets waits be skipped iff that incarnation is in the configuration being replaced.
 */
export interface ExitCertificate {
  node: string;
  disk: DiskId;
  incarnation: string;
}
