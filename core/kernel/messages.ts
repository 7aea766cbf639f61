/**
 * What kernels of one instance say to each other: one row a message, positional fields, numbers by range.
 *
 *      1 –  15   links: hello, acknowledgement, bye … (core/kernel/link; not kernel messages, never seen by the kernel)
 *     16 –  31   calls of processes, and their answers
 *     32 –  39   bulk copies
 *     40 –  47   moves of processes (44 and 45 are retired)
 *     48 –  55   membership
 *     56 –  63   retired numbers go here; a number is never given out twice
 *
 * A message is an array: its number, then its fields in the order of the row. The table is what the wire's encoder,
 * its validation and PROTOCOL.md are made of; a new message is a row, a handler in core/kernel/handlers, a scenario.
 *
 * A proxy delivers the messages between two kernels exactly once and in the order in which they were transmitted,
 * separately for each `channel`, as long as both are in the view. A row that is `lossy` is sent at most once: it is
 * worthless when it is late, and is never kept to be sent again.
 *
 * A call has the name (source, call): the endpoint that makes it, and a number that this process counts up. It keeps
 * that name when the process moves.
 *
 * `since` is the index of the record that brought the destination to the kernel that is addressed (0: it has been there
 * from the start), `index` that of the sender's View. A message that is ahead of the receiver's View waits there for
 * the record; one for an earlier stay of the destination is dropped, because its sender will send it again.
 */
import type { Endpoint } from "./endpoint.ts";
import type { Outcome } from "./outcome.ts";
import type { KernelId } from "./view.ts";

/** What a field holds; the wire validates each by its kind. */
export interface FieldTypes {
  /** A bound or once bound endpoint: isEndpoint(). */
  endpoint: Endpoint;
  kernel: KernelId;
  /** An integer from 0 to 2^53 − 1. */
  uint: number;
  /** Milliseconds of somebody's monotonic clock, any finite number from 0. */
  timeMs: number;
  /** 0 to groupsMax − 1. */
  group: number;
  /** Bytes, or a plain value that msgpack can carry; messageBytesMax encoded. */
  body: unknown;
  /** At most copyFrameBytes. */
  bytes: Uint8Array;
  /** Its name: one of outcome.ts. */
  outcome: Outcome;
  /** 0 or 1. */
  flag: number;
  /** Names of calls: [source, call, source, call, …]; at most 2 * auditCallsMax numbers. */
  calls: readonly number[];
  /** One number of callStates for each call that was asked for. */
  states: readonly number[];
}
export type FieldKind = keyof FieldTypes;

export interface MessageRow {
  number: number;
  /** Connection that carries it. */
  channel: "calls" | "bulk";
  lossy?: true;
  fields: readonly (readonly [name: string, kind: FieldKind])[];
  /** For PROTOCOL.md. */
  says: string;
}

/** What a kernel knows of a call in an endpoint that it holds. */
export const callStates = {
  /** Not arrived there, or answered. */
  none: 0,
  /** Taken; it will be replied to. */
  open: 2,
  /** It had arrived at the kernel from which the endpoint came, and was not taken: it is to be sent again. */
  untaken: 3,
} as const;

export const messageTable = {
  send: {
    number: 16,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["group", "group"],
      ["since", "uint"],
      ["type", "uint"],
      ["body", "body"],
    ],
    says: "A message for the destination. Answered by taken, or failed. `group` is the sender's.",
  },
  request: {
    number: 17,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["group", "group"],
      ["since", "uint"],
      ["type", "uint"],
      ["body", "body"],
    ],
    says: "A message whose sender waits for the reply. Answered by reply, perhaps taken before it, or failed.",
  },
  notify: {
    number: 18,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["group", "group"],
      ["since", "uint"],
      ["count", "uint"],
    ],
    says: "The source has notified the destination so many times. Answered by notified, but not where it is not any more.",
  },
  taken: {
    number: 19,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
    ],
    says: "The destination's process has taken the message: the end of a send.",
  },
  reply: {
    number: 20,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["type", "uint"],
      ["body", "body"],
    ],
    says: "The reply to a request; says that it was taken, too. `source` made the call.",
  },
  failed: {
    number: 21,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["outcome", "outcome"],
    ],
    says: "How a call has ended that was not carried out.",
  },
  cancel: {
    number: 22,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
    ],
    says: "The caller gives up. Answered by failed CANCELLED if the message had not been taken, else by taken.",
  },
  miss: {
    number: 23,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["since", "uint"],
      ["kernel", "kernel"],
    ],
    says: "The destination is with that kernel since that record: nothing was done. Read the records, or look there.",
  },
  resolve: {
    number: 24,
    channel: "calls",
    fields: [
      ["destination", "endpoint"],
      ["index", "uint"],
    ],
    says: "Before the first message to an endpoint: is it bound, and in which group? Answered by resolved, or miss.",
  },
  resolved: {
    number: 25,
    channel: "calls",
    fields: [
      ["destination", "endpoint"],
      ["outcome", "outcome"],
      ["group", "group"],
    ],
    says: "The endpoint's group, with OK; or NOT_BOUND, DIED.",
  },
  watch: {
    number: 26,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["index", "uint"],
      ["bound", "flag"],
    ],
    says: "Answer when the destination is bound (1) or is no longer (0). Answered by answer, failed, or miss.",
  },
  info: {
    number: 27,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["destination", "endpoint"],
      ["index", "uint"],
    ],
    says: "What the kernel knows of the endpoint. Answered by answer, failed, or miss.",
  },
  answer: {
    number: 28,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["body", "body"],
    ],
    says: "The kernel's own answer to watch and info.",
  },
  notified: {
    number: 29,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["destination", "endpoint"],
      ["call", "uint"],
    ],
    says: "The notification has come to its destination, or that is no more.",
  },

  copyRead: {
    number: 32,
    channel: "bulk",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["owner", "endpoint"],
      ["group", "group"],
      ["since", "uint"],
      ["grant", "uint"],
      ["offset", "uint"],
      ["length", "uint"],
    ],
    says: "Send these bytes of the owner's grant, in data messages. Answered by failed when it may not.",
  },
  copyWrite: {
    number: 33,
    channel: "bulk",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["owner", "endpoint"],
      ["group", "group"],
      ["since", "uint"],
      ["grant", "uint"],
      ["offset", "uint"],
      ["length", "uint"],
    ],
    says: "Data messages follow with bytes for the owner's grant. Done when all of them are acknowledged.",
  },
  data: {
    number: 34,
    channel: "bulk",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["toOwner", "flag"],
      ["bytes", "bytes"],
    ],
    says: "The next bytes of a copy, to the owner's kernel (1) or the caller's (0).",
  },
  dataAck: {
    number: 35,
    channel: "calls",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
      ["toOwner", "flag"],
      ["bytes", "uint"],
    ],
    says: "So many bytes of the copy have been put in place, all in all. To the side that sends the data.",
  },
  copyCancel: {
    number: 36,
    channel: "bulk",
    fields: [
      ["source", "endpoint"],
      ["call", "uint"],
    ],
    says: "The caller gives the copy up. Behind what opened it; not answered.",
  },

  offer: {
    number: 40,
    channel: "calls",
    fields: [
      ["endpoint", "endpoint"],
      ["g", "uint"],
      ["grant", "uint"],
      ["bytes", "uint"],
      ["state", "body"],
    ],
    says: "The frozen process: its state in the kernel, and the grant from which to copy its image. To the new kernel.",
  },
  decline: {
    number: 41,
    channel: "calls",
    fields: [
      ["endpoint", "endpoint"],
      ["g", "uint"],
    ],
    says: "The new kernel does not take the process: the old one proposes `aborted`.",
  },
  marker: {
    number: 42,
    channel: "calls",
    fields: [
      ["endpoint", "endpoint"],
      ["since", "uint"],
      ["ticket", "uint"],
    ],
    says: "Nothing for the endpoint follows from me; what it has not taken, forget. Answered by settled.",
  },
  settled: {
    number: 43,
    channel: "calls",
    fields: [
      ["endpoint", "endpoint"],
      ["ticket", "uint"],
    ],
    says: "Of your messages before the marker, those of which you have not been told were not taken, and will not be.",
  },
  audit: {
    number: 46,
    channel: "calls",
    fields: [
      ["audit", "uint"],
      ["index", "uint"],
      ["endpoint", "endpoint"],
      ["since", "uint"],
      ["calls", "calls"],
    ],
    says: "What of these calls to the endpoint, once your View has this index? Asked when a kernel between has died.",
  },
  audited: {
    number: 47,
    channel: "calls",
    fields: [
      ["audit", "uint"],
      ["states", "states"],
    ],
    says: "The state of each of these calls, in the same order. None: the endpoint is elsewhere.",
  },

  beacon: {
    number: 48,
    channel: "calls",
    lossy: true,
    fields: [
      ["epoch", "uint"],
      ["grantorMs", "timeMs"],
      ["echoMs", "timeMs"],
      ["granted", "flag"],
      ["index", "uint"],
    ],
    says: "From the grantor: its clock, the member's last clock, whether it grants a lease from then, its View's index.",
  },
  beaconAck: {
    number: 49,
    channel: "calls",
    lossy: true,
    fields: [
      ["epoch", "uint"],
      ["grantorMs", "timeMs"],
      ["memberMs", "timeMs"],
    ],
    says: "To the grantor: the clock of its last beacon, and one's own.",
  },
  flush: {
    number: 50,
    channel: "calls",
    fields: [["index", "uint"]],
    says: "From a kernel that leaves: answer once your View has this index. Answered by flushed.",
  },
  flushed: {
    number: 51,
    channel: "calls",
    fields: [["index", "uint"]],
    says: "All that was sent by an older View has arrived with this.",
  },
} as const satisfies Record<string, MessageRow>;

export type MessageName = keyof typeof messageTable;
type Rows = typeof messageTable;
type Values<F extends readonly (readonly [string, FieldKind])[]> = {
  readonly [I in keyof F]: FieldTypes[F[I][1]];
};

/** A message of that name, or any: `[number, …fields]`. */
export type KernelMessage<N extends MessageName = MessageName> = {
  [M in N]: readonly [Rows[M]["number"], ...Values<Rows[M]["fields"]>];
}[N];

/** Number → name; holes are undefined. */
export const messageNames: readonly (MessageName | undefined)[] = (() => {
  const names: (MessageName | undefined)[] = Array.from({ length: 64 });
  for (const name of Object.keys(messageTable) as MessageName[]) {
    const { number } = messageTable[name];
    if (names[number] !== undefined) throw new Error(`messages ${names[number]} and ${name} have one number`);
    names[number] = name;
  }
  return names;
})();
