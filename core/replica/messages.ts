/**
 * What replicas of one instance say to each other: one row a message, positional fields, numbers by range.
 *
 *     64 –  71   who is where: reports, configurations
 *     72 –  79   the log
 *     80 –  87   the two promises
 *     88 –  95   on behalf of clients
 *     96 – 103   retired numbers go here; a number is never given out twice
 *
 * A message is an array: its number, then its fields in the order of the row. Links carry the messages between two
 * replicas in order as long as they stand, and lose what is under way when they break: nothing is resumed, everything
 * is idempotent by (epoch, index) or (client, sequence), and what stays without an answer is sent again.
 */
import type { Configuration } from "./configuration.ts";
import type { RefusalReason } from "./sink.ts";

/** `[sender's ticket, client, sequence, ackedBelow, kind, module, operation]` */
export type ForwardedWrite = readonly [
  ticket: number,
  client: string,
  sequence: number,
  ackedBelow: number,
  kind: number,
  module: string,
  operation: Uint8Array,
];
/** `[ticket, "ok" | "unknown" | a RefusalReason, result or nothing, index]` */
export type ForwardedAnswer = readonly [
  ticket: number,
  outcome: "ok" | "unknown" | RefusalReason,
  result: Uint8Array,
  index: number,
];
/** The highest level of each module that a replica can apply. */
export type ModuleLevels = readonly (readonly [module: string, level: number])[];

/** What a field holds; the wire validates each by its kind. */
export interface FieldTypes {
  /** An integer from 0 to 2^48 − 1. */
  uint: number;
  /** Milliseconds of somebody's monotonic clock, any finite number from 0. */
  timeMs: number;
  /** 0 or 1. */
  flag: number;
  /** A host process: 1 to 64 letters, digits and -; or nothing. */
  incarnation: string;
  /** Records behind one another, as decodeRecords() takes them; at most appendBytesMax, or one record. */
  records: Uint8Array;
  configuration: Configuration;
  levels: ModuleLevels;
  /** At most appendBytesMax, or one. */
  writes: readonly ForwardedWrite[];
  answers: readonly ForwardedAnswer[];
}
export type FieldKind = keyof FieldTypes;

export interface MessageRow {
  number: number;
  fields: readonly (readonly [name: string, kind: FieldKind])[];
  /** For PROTOCOL.md. */
  says: string;
}

export const messageTable = {
  report: {
    number: 64,
    fields: [
      ["incarnation", "incarnation"],
      ["generation", "uint"],
      ["version", "uint"],
      ["lastEpoch", "uint"],
      ["lastIndex", "uint"],
      ["amnesiac", "flag"],
      ["applied", "uint"],
      ["levels", "levels"],
    ],
    says: "How far the sender is, for whoever it takes for the primary, or for all while it knows of none.",
  },
  configuration: {
    number: 65,
    fields: [
      ["generation", "uint"],
      ["version", "uint"],
      ["configuration", "configuration"],
    ],
    says: "As the sender has read it in the store. For a replica that has reported, or acts by, an older one.",
  },
  append: {
    number: 72,
    fields: [
      ["epoch", "uint"],
      ["previousEpoch", "uint"],
      ["previousIndex", "uint"],
      ["commitIndex", "uint"],
      ["records", "records"],
    ],
    says: "From the primary: these records follow the one named. Without records it only tells what is committed.",
  },
  appended: {
    number: 73,
    fields: [
      ["incarnation", "incarnation"],
      ["epoch", "uint"],
      ["written", "uint"],
      ["durable", "uint"],
      ["memberVersion", "uint"],
    ],
    says: "To the primary: up to there the sender's log is the primary's, and is written, and survives a power cut.",
  },
  mismatch: {
    number: 74,
    fields: [
      ["epoch", "uint"],
      ["recordEpoch", "uint"],
      ["recordIndex", "uint"],
      ["committed", "flag"],
    ],
    says: "The record that an append was to follow is not there; this is the last one that may be the same. Committed: it is applied at the sender; where it is not the primary's, too, a snapshot has to take its place.",
  },
  wantRecords: {
    number: 75,
    fields: [["index", "uint"]],
    says: "The sender's disk has damaged its records from there on. Answered by givenRecords.",
  },
  givenRecords: {
    number: 76,
    fields: [["records", "records"]],
    says: "The sender's records from the one that was wanted on; none: it has them no more, or not yet.",
  },
  beacon: {
    number: 80,
    fields: [
      ["epoch", "uint"],
      ["primaryMs", "timeMs"],
      ["echoMs", "timeMs"],
      ["echoOf", "incarnation"],
      ["granted", "flag"],
      ["version", "uint"],
      ["commitIndex", "uint"],
    ],
    says: "From the primary: its clock; the last clock that it received, and of which host process; whether that is a lease.",
  },
  beaconAck: {
    number: 81,
    fields: [
      ["epoch", "uint"],
      ["primaryMs", "timeMs"],
      ["backupMs", "timeMs"],
      ["incarnation", "incarnation"],
      ["version", "uint"],
      ["amnesiac", "flag"],
      ["received", "uint"],
      ["written", "uint"],
      ["durable", "uint"],
      ["memberVersion", "uint"],
    ],
    says: "To the primary: the clock of the beacon, one's own, up to where the log is the primary's, and appended again.",
  },
  forward: {
    number: 88,
    fields: [
      ["incarnation", "incarnation"],
      ["writes", "writes"],
    ],
    says: "Writes of the sender's clients, for the primary. Answered by forwarded. Tickets are the incarnation's.",
  },
  forwarded: {
    number: 89,
    fields: [
      ["incarnation", "incarnation"],
      ["answers", "answers"],
    ],
    says: "What became of writes that this incarnation has forwarded.",
  },
  readIndex: {
    number: 90,
    fields: [
      ["incarnation", "incarnation"],
      ["ticket", "uint"],
    ],
    says: "Up to where does a read have to have applied that begins now? From a replica that has no lease, to the primary.",
  },
  readIndexed: {
    number: 91,
    fields: [
      ["incarnation", "incarnation"],
      ["ticket", "uint"],
      ["epoch", "uint"],
      ["index", "uint"],
    ],
    says: "What was committed when the question came, by a primary that served then.",
  },
} as const satisfies Record<string, MessageRow>;

export type MessageName = keyof typeof messageTable;
type Rows = typeof messageTable;
type Values<F extends readonly (readonly [string, FieldKind])[]> = {
  readonly [I in keyof F]: FieldTypes[F[I][1]];
};

/** A message of that name, or any: `[number, …fields]`. */
export type ReplicaMessage<N extends MessageName = MessageName> = {
  [M in N]: readonly [Rows[M]["number"], ...Values<Rows[M]["fields"]>];
}[N];

/** Number → name. */
export const messageNames: ReadonlyMap<number, MessageName> = new Map(
  (Object.keys(messageTable) as MessageName[]).map((name) => [messageTable[name].number, name]),
);
