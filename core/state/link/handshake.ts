/**
 * How two host processes of one instance begin a link of its OS state:
 *
 *     dialler ── hello ───────────▶ acceptor
 *     dialler ◀── welcome, proof ── acceptor     or refuse, and the stream is closed
 *     dialler ── proof ───────────▶ acceptor     then messages, from number 16 on, in both directions
 *     either  ── bye ─────────────▶ other        an end without it is a broken link
 *
 * Between nodes both certificates have said who they are (mutual TLS); on one node the proof is a keyed hash with
 * the instance's secret over role, hello and welcome, so that the secret never goes over the wire.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { Malformed } from "../../kernel/proxy/malformed.ts";
import { encodeFrame, type Fields } from "./frames.ts";

export const linkNumbers = { hello: 1, welcome: 2, proof: 3, refuse: 4, bye: 5, ping: 6, pong: 7 } as const;
/** Messages of the users of a link begin here. */
export const firstMessageNumber = 16;
/** 2: replicas tell each other how much room they have (rooms.ts). */
export const stateProtocol = 2;
export const stateProtocolMin = 1;

const text = z.string().max(128);
const nonce = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 16);
const proof = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32 || bytes.length === 0);

export interface Hello {
  protocol: number;
  protocolMin: number;
  /** Uid of the instance. */
  instance: string;
  /** A replica's state process; or a client: a container, or whoever acts for one. */
  role: "replica" | "client";
  node: string;
  /** Of a replica its disk, of a client empty. */
  disk: string;
  /** Of the host process that dials. */
  incarnation: string;
  /** The disk that is to be at the other end; empty: whatever replica listens there. */
  toDisk: string;
  nonce: Uint8Array;
}

const HelloFields = z.tuple([
  z.literal(linkNumbers.hello),
  z.number().int().min(1),
  z.number().int().min(1),
  text,
  z.enum(["replica", "client"]),
  text,
  text,
  text,
  text,
  nonce,
]);

export function helloFields(hello: Hello): Fields {
  const { protocol, protocolMin, instance, role, node, disk, incarnation, toDisk } = hello;
  const values = [protocol, protocolMin, instance, role, node, disk, incarnation, toDisk, hello.nonce];
  return [linkNumbers.hello, ...values];
}

/** Throws Malformed. */
export function readHello(fields: Fields): Hello {
  const [, protocol, protocolMin, instance, role, node, disk, incarnation, toDisk, random] = parse(
    HelloFields,
    fields,
    "hello",
  );
  return { protocol, protocolMin, instance, role, node, disk, incarnation, toDisk, nonce: random };
}

export interface Welcome {
  protocol: number;
  node: string;
  disk: string;
  incarnation: string;
  nonce: Uint8Array;
}

const WelcomeFields = z.tuple([
  z.literal(linkNumbers.welcome),
  z.number().int().min(1),
  text,
  text,
  text,
  nonce,
  proof,
]);

export function welcomeFields(welcome: Welcome, proved: Uint8Array): Fields {
  const { protocol, node, disk, incarnation } = welcome;
  return [linkNumbers.welcome, protocol, node, disk, incarnation, welcome.nonce, proved];
}

/** Throws Malformed. */
export function readWelcome(fields: Fields): { welcome: Welcome; proof: Uint8Array } {
  const [, protocol, node, disk, incarnation, random, proved] = parse(WelcomeFields, fields, "welcome");
  return { welcome: { protocol, node, disk, incarnation, nonce: random }, proof: proved };
}

const ProofFields = z.tuple([z.literal(linkNumbers.proof), proof]);

/** Throws Malformed. */
export function readProof(fields: Fields): Uint8Array {
  return parse(ProofFields, fields, "proof")[1];
}

/** Of `role`, over all that was said before it. */
export function prove(
  secret: Uint8Array,
  role: "dialler" | "acceptor",
  hello: Hello,
  welcome: Welcome,
): Uint8Array {
  const transcript = encodeFrame([
    "dvs state link 1",
    role,
    helloFields(hello),
    welcomeFields(welcome, new Uint8Array()),
  ]);
  return createHmac("sha256", secret).update(transcript).digest();
}

export function isProved(proved: Uint8Array, good: Uint8Array): boolean {
  return proved.length === good.length && timingSafeEqual(proved, good);
}

function parse<T>(schema: z.ZodType<T>, fields: Fields, what: string): T {
  const result = schema.safeParse(fields);
  if (!result.success) throw new Malformed(`${what}: ${result.error.issues[0]?.message ?? "wrong"}`);
  return result.data;
}
