/** The text of PROTOCOL.md, made of the tables that the wire is made of: it can be neither wrong nor old. */
import { type FieldKind, messageTable, type MessageRow } from "../../core/kernel/messages.ts";
import { outcomes } from "../../core/kernel/outcome.ts";
import {
  channelNames,
  farewellNames,
  type LinkFieldKind,
  linkMessageTable,
  type LinkRow,
  nonceBytes,
  proofBytesMax,
  refusalNames,
  textCharsMax,
} from "../../core/kernel/proxy/link-messages.ts";
import {
  type FieldKind as ReplicaFieldKind,
  messageTable as replicaMessageTable,
  type MessageRow as ReplicaRow,
} from "../../core/replica/messages.ts";
import { appendBytesMax } from "../../core/replica/timings.ts";
import { protocolVersion, protocolVersionMin } from "../../core/kernel/proxy/version.ts";
import * as limits from "../../core/limits.ts";

const kinds: Record<FieldKind, string> = {
  endpoint: "generation * 65,536 + slot, from 65,536 to 2^52 − 1",
  kernel: "number of a kernel, from 1",
  uint: "integer from 0 to 2^53 − 1",
  timeMs: "milliseconds of somebody's monotonic clock: a finite number from 0",
  group: `integer from 0 to ${limits.groupsMax - 1}`,
  body: `bytes or a plain value, at most ${bytes(limits.messageBytesMax)} encoded`,
  bytes: `at most ${bytes(limits.copyFrameBytes)}`,
  outcome: `text: ${Object.keys(outcomes).join(", ")}`,
  flag: "0 or 1",
  calls: `array of source, call, source, call, … for at most ${number(limits.auditCallsMax)} calls`,
  states: `array of at most ${number(limits.auditCallsMax)} integers from 0 to 3`,
};
const linkKinds: Record<LinkFieldKind, string> = {
  kernel: kinds.kernel,
  uint: kinds.uint,
  channel: numbered(channelNames),
  text: `at most ${textCharsMax} printable ASCII characters`,
  nonce: `${nonceBytes} random bytes`,
  proof: `at most ${proofBytesMax} bytes`,
  refusal: numbered(refusalNames),
  farewell: numbered(farewellNames),
};
const replicaKinds: Record<ReplicaFieldKind, string> = {
  uint: "integer from 0 to 2^48 − 1",
  timeMs: kinds.timeMs,
  flag: kinds.flag,
  incarnation: "of a host process: at most 64 letters, digits and -; empty where none is known",
  records: `records behind one another (core/replica/record.ts), at most ${bytes(appendBytesMax)} or one`,
  configuration: "map: epoch, primary (disk, incarnation), generation, inSync (disks), changeId",
  levels: "array of [module, level]",
  writes: "array of [ticket, client, sequence, ackedBelow, kind of record, module, operation]",
  answers: "array of [ticket, ok | unknown | why it was refused, result, index]",
};

export function protocolText(): string {
  return `# What kernels and replicas say to each other

Written by \`bun test/tools/write-protocol.ts\` from \`core/kernel/messages.ts\`, \`core/kernel/proxy/\` and
\`core/replica/messages.ts\`. A test compares it. Of kernels this is version ${protocolVersion}; the lowest that is still spoken is ${protocolVersionMin}.

## Connections

Between each two kernels of an instance there are two connections, one for \`calls\` and one for \`bulk\`: on one node
Unix sockets in a directory of mode 0700, between nodes TCP with mutual TLS 1.3. Both kernels dial while they have none;
the higher number ${limits.linkSecondDialMs} ms later. Of two that meet, the dial of the lower number stands.

\`\`\`
dialler ── hello ─────────────▶ acceptor
dialler ◀── welcome, proof ──── acceptor        or refuse, and the end
dialler ── proof ─────────────▶ acceptor        then messages in both directions
             …
either  ── bye ───────────────▶ other           and the end; an end without bye is a broken connection
\`\`\`

The version is the highest that both speak. A proof is made over \`dvs kernel link 1 ROLE\\n\`, the SHA-256 of the
dialler's and of the acceptor's leaf certificate, and hello and welcome without their frames' first four bytes. ROLE is
\`dialler\` or \`acceptor\`. Between nodes it is an ECDSA signature (P-256, SHA-256) by the certificate's key; on a Unix
socket, where there are no certificates, an HMAC-SHA256 with the instance's secret.

## Frames

${table(
  ["byte 0", "bytes 1–3", "then", ""],
  [
    [
      0,
      "length of the rest",
      "sequence number (4 bytes), message",
      "kept until acknowledged, sent again over the next connection",
    ],
    [1, "length of the rest", "message", "lossy: sent at most once"],
    [2, "length of the rest", "message of the link", ""],
    [3, 4, "sequence number (4 bytes)", "acknowledgement of this message and all before it"],
  ],
)}

Numbers are big-endian. Messages are counted from 1 for each pair of kernels, direction and channel, over all their
connections; a frame has the low 32 bits. A message is a msgpack array: its number, then its fields. Integers have their
shortest form; extensions are refused. Arrays and maps lie at most 32 deep in each other.

${table(
  ["limit", ""],
  [
    [
      "frame, without its first four bytes",
      `${bytes(limits.frameBytesMax)}; before the proof ${bytes(limits.strangerFrameBytesMax)}`,
    ],
    [
      "unacknowledged, above which no new calls follow",
      `${bytes(limits.linkBytesHigh)} or ${number(limits.linkFramesHigh)} messages`,
    ],
    [
      "acknowledged after",
      `${number(limits.ackFramesMax)} messages, ${bytes(limits.ackBytesMax)} or ${limits.linkTickMs} ms`,
    ],
    [
      "asked for a sign of life after, given up after",
      `${limits.linkPingMs} ms, ${number(limits.linkSilentMs)} ms`,
    ],
    ["handshake", `${number(limits.linkHandshakeMs)} ms`],
  ],
)}

## Messages of links

${linkRows()}

${fieldKinds(linkKinds)}

## Messages of kernels

${kernelRows()}

${fieldKinds(kinds)}

## Messages of replicas

Between the state processes of one instance, over links of their own (\`core/state/link\`): msgpack arrays after four bytes
of length. Nothing is resumed when a link breaks; everything is idempotent, and what has no answer is sent again.

${replicaRows()}

${fieldKinds(replicaKinds)}
`;
}

function replicaRows(): string {
  const rows: [string, ReplicaRow][] = Object.entries(replicaMessageTable);
  const lines = rows.map(([name, row]) => [row.number, `\`${name}\``, list(row.fields), row.says]);
  return table(["number", "message", "fields", ""], lines);
}

function kernelRows(): string {
  const rows: (MessageRow & { name: string })[] = Object.entries(messageTable).map(([name, row]) => ({
    name,
    ...row,
  }));
  const lines = rows
    .sort((a, b) => a.number - b.number)
    .map(({ number: n, name, channel, lossy, fields, says }) => [
      n,
      `\`${name}\``,
      `${channel}${lossy ? ", lossy" : ""}`,
      list(fields),
      says,
    ]);
  return table(["number", "message", "connection", "fields", ""], lines);
}

function linkRows(): string {
  const rows: (LinkRow & { name: string })[] = Object.entries(linkMessageTable).map(([name, row]) => ({
    name,
    ...row,
  }));
  return table(
    ["number", "message", "fields", ""],
    rows.map(({ number: n, name, fields, says }) => [n, `\`${name}\``, list(fields), says]),
  );
}

function list(fields: readonly (readonly [string, string])[]): string {
  return fields.map(([name, kind]) => (name === kind ? name : `${name}: ${kind}`)).join(", ");
}

function fieldKinds(of: Record<string, string>): string {
  return table(["field", ""], Object.entries(of));
}

/** Its columns are as wide as their widest cell, which is how the formatter leaves it. */
function table(heads: string[], rows: (string | number)[][]): string {
  const cells = [heads, ...rows].map((row) => row.map((cell) => String(cell).replaceAll("|", "\\|")));
  const widths = heads.map((_, i) => Math.max(3, ...cells.map((row) => row[i]!.length)));
  const lines = cells.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`);
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [lines[0], rule, ...lines.slice(1)].join("\n");
}
function numbered(names: readonly string[]): string {
  return names.map((name, i) => `${i} ${name}`).join(", ");
}
function bytes(n: number): string {
  if (n % limits.MiB === 0) return `${n / limits.MiB} MiB`;
  return n % limits.KiB === 0 ? `${n / limits.KiB} KiB` : `${number(n)} bytes`;
}
function number(n: number): string {
  return n.toLocaleString("en-US");
}
