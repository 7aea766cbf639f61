/**
 * What the two ends of a connection say to each other; kernels never see it. Numbers 1 to 15 of the protocol; rows
 * have the shape of core/kernel/messages.ts.
 *
 *     dialler ── hello ─────────────▶ acceptor
 *     dialler ◀── welcome, proof ──── acceptor        or refuse, and the connection is closed
 *     dialler ── proof ─────────────▶ acceptor        then messages in both directions
 *                 …
 *     either  ── bye ───────────────▶ other           and its end of the stream
 */

/** What a field holds, beside the kinds of core/kernel/messages.ts. */
export interface LinkFieldTypes {
  kernel: number;
  uint: number;
  channel: number;
  /** Printable ASCII, at most textCharsMax. */
  text: string;
  /** 16 random bytes. */
  nonce: Uint8Array;
  /** A signature or a keyed hash, at most proofBytesMax. */
  proof: Uint8Array;
  refusal: number;
  farewell: number;
}
export type LinkFieldKind = keyof LinkFieldTypes;

export interface LinkRow {
  number: number;
  fields: readonly (readonly [name: string, kind: LinkFieldKind])[];
  says: string;
}

export const textCharsMax = 128;
export const nonceBytes = 16;
export const proofBytesMax = 256;

/** Each pair of kernels has two connections, so that a call never waits behind a copy. */
export const channels = { calls: 0, bulk: 1 } as const;
export type ChannelName = keyof typeof channels;
export const channelNames: readonly ChannelName[] = ["calls", "bulk"];

/** Why a dialler is not welcome. It tries again later whatever it is: all but the last two pass by themselves. */
export const refusals = {
  /** The dialler is not in the acceptor's view, or not yet. */
  unknown: 0,
  /** The acceptor's own dial stands (channel-machine.ts). */
  busy: 1,
  /** Meant for another kernel, incarnation or instance than the one that listens here. */
  stranger: 2,
  /** No version of the protocol that both speak. */
  version: 3,
  /** The certificate or the proof is not that of the kernel that it says it is. */
  identity: 4,
} as const;
export type Refusal = keyof typeof refusals;
export const refusalNames = Object.keys(refusals) as Refusal[];

/** Why a connection ends in order. */
export const farewells = {
  /** The other connection of this channel stands. */
  duplicate: 0,
  /** The kernel leaves, or its peer is not in its view any more. */
  leaving: 1,
  /** Something came that is not of this protocol. */
  defect: 2,
} as const;
export type Farewell = keyof typeof farewells;
export const farewellNames = Object.keys(farewells) as Farewell[];

export const linkMessageTable = {
  hello: {
    number: 1,
    fields: [
      ["protocol", "uint"],
      ["protocolMin", "uint"],
      ["instance", "text"],
      ["channel", "channel"],
      ["kernel", "kernel"],
      ["incarnation", "text"],
      ["toKernel", "kernel"],
      ["toIncarnation", "text"],
      ["attempt", "uint"],
      ["seen", "uint"],
      ["received", "uint"],
      ["nonce", "nonce"],
    ],
    says:
      "Who dials and whom. `attempt` counts the dials of this pair and channel, `seen` is the acceptor's last one that " +
      "the dialler took, `received` how many messages it has: the next is to be sent first.",
  },
  welcome: {
    number: 2,
    fields: [
      ["protocol", "uint"],
      ["kernel", "kernel"],
      ["incarnation", "text"],
      ["received", "uint"],
      ["nonce", "nonce"],
    ],
    says: "The version to speak, who accepts, and how many messages it has.",
  },
  proof: {
    number: 3,
    fields: [["proof", "proof"]],
    says:
      "By the key of the sender's certificate, or the instance's secret on a Unix socket, over both certificates, the " +
      "sender's role, hello and welcome (authenticator.ts).",
  },
  refuse: {
    number: 4,
    fields: [
      ["refusal", "refusal"],
      ["why", "text"],
    ],
    says: "Instead of welcome. The words are for people.",
  },
  bye: {
    number: 5,
    fields: [["farewell", "farewell"]],
    says: "Nothing follows. An end of the stream without it is a broken connection.",
  },
  ping: { number: 6, fields: [], says: "Answered by pong: sent when nothing has come for a while." },
  pong: { number: 7, fields: [], says: "I am here." },
} as const satisfies Record<string, LinkRow>;

export type LinkMessageName = keyof typeof linkMessageTable;
type Rows = typeof linkMessageTable;

/** A link message as an object; there are few of them, and many fields in some. */
export type LinkMessage = {
  [M in LinkMessageName]: { name: M } & {
    -readonly [F in Rows[M]["fields"][number] as F[0]]: LinkFieldTypes[F[1]];
  };
}[LinkMessageName];
export type Hello = Extract<LinkMessage, { name: "hello" }>;
export type Welcome = Extract<LinkMessage, { name: "welcome" }>;
