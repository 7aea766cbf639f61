/**
 * How the two ends of one connection prove who they are. Between nodes: by the keys of their certificates, whose
 * chains TLS has verified; on one node: by the instance's secret. The proof covers
 *
 *     "dvs kernel link 1", role of who proves, both leaf certificates' SHA-256, the frames hello and welcome
 *
 * so that it is good for this connection only (both nonces), for this end of it (role), and for everything that was
 * said before: kernels, incarnations, instance, channel, version. An exporter of the TLS session would bind as well,
 * but not every runtime has one.
 */
import type { Member } from "../view.ts";

export type Role = "dialler" | "acceptor";

export interface Authenticator {
  /** Null; or why this member cannot be at the other end, in words that follow "the peer is …". */
  refuses(member: Member): string | null;
  /** At most proofBytesMax. */
  prove(transcript: Uint8Array): Uint8Array;
  verify(transcript: Uint8Array, proof: Uint8Array): boolean;
  /** Both leaf certificates' SHA-256, the dialler's first; empty without certificates. */
  readonly binding: Uint8Array;
}

/** What `role` proves. `hello` and `welcome` are whole frames. */
export function transcriptOf(
  role: Role,
  binding: Uint8Array,
  hello: Uint8Array,
  welcome: Uint8Array,
): Uint8Array {
  const label = `dvs kernel link 1 ${role}\n`;
  const bytes = new Uint8Array(label.length + binding.length + hello.length + welcome.length);
  for (let i = 0; i < label.length; i++) bytes[i] = label.charCodeAt(i);
  // Frames tell their own length, and the binding has one of two: nothing can be shifted from one part to another.
  bytes.set(binding, label.length);
  bytes.set(hello, label.length + binding.length);
  bytes.set(welcome, label.length + binding.length + hello.length);
  return bytes;
}
