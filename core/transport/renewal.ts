/**
 * Keeps a certificate fresh: makes a new key and request when renewal-machine.ts says it is time, has it signed,
 * checks what came back, and hands it on. The old one stays in use until then; running connections keep theirs.
 */
import { createPrivateKey, createPublicKey } from "node:crypto";
import { DvsError } from "../errors.ts";
import { derOf } from "../trust/certificate.ts";
import { parseIdentity, uriOf, validityOf } from "../trust/identity.ts";
import { createKeyAndCsr } from "../trust/key.ts";
import type { TlsIdentity } from "./dial.ts";
import { decideRenewal } from "./renewal-machine.ts";
import type { RenewalState } from "./renewal-machine.ts";

export interface RenewalOptions {
  identity: TlsIdentity;
  /** Sends the request (PEM) to the coordinator; gives the certificate (PEM). */
  sign: (csr: string, signal: AbortSignal) => Promise<string>;
  /** Saves the new pair and puts it to use. When it throws, the attempt has failed. */
  install: (identity: TlsIdentity) => void | Promise<void>;
  /** A failed attempt; `expiresMs` says how urgent it is. */
  onError: (e: DvsError, expiresMs: number) => void;
  /** Milliseconds since 1970. */
  now?: () => number;
  random?: () => number;
}

export interface Renewal {
  /** Does what is due now; resolves when it is done. The timer calls it as well. */
  check(): Promise<void>;
  stop(): void;
}

export function startRenewal(options: RenewalOptions): Renewal {
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const stopped = new AbortController();
  let identity = options.identity;
  let state = freshState(identity, random());
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | null = null;

  async function attempt(): Promise<void> {
    state = { ...state, lastAttemptMs: now() };
    try {
      const next = await renewed(identity, options.sign, stopped.signal);
      if (stopped.signal.aborted) return;
      await options.install(next);
      identity = next;
      state = freshState(identity, random());
    } catch (e) {
      if (stopped.signal.aborted) return;
      state = { ...state, failures: state.failures + 1 };
      options.onError(DvsError.from(e), state.validity.notAfterMs);
    }
  }

  async function look(): Promise<void> {
    clearTimeout(timer);
    if (decideRenewal(state, now()).act === "renew") await attempt();
    if (stopped.signal.aborted) return;
    const decision = decideRenewal(state, now());
    timer = setTimeout(() => void check(), decision.act === "wait" ? decision.ms : minimumMs);
    timer.unref?.();
  }

  function check(): Promise<void> {
    running ??= look().finally(() => {
      running = null;
    });
    return running;
  }

  void check();
  return {
    check,
    stop() {
      stopped.abort();
      clearTimeout(timer);
    },
  };
}

/** Should a coordinator ever issue certificates that are due at once, this keeps the loop from spinning. */
const minimumMs = 1_000;

function freshState(identity: TlsIdentity, jitter: number): RenewalState {
  return { validity: validityOf(identity.certificate), failures: 0, lastAttemptMs: null, jitter };
}

async function renewed(
  old: TlsIdentity,
  sign: RenewalOptions["sign"],
  signal: AbortSignal,
): Promise<TlsIdentity> {
  const before = parseIdentity(derOf(old.certificate));
  const uri = before ? uriOf(before) : "";
  const { key, csr } = await createKeyAndCsr(uri.slice(uri.lastIndexOf("/") + 1));
  const certificate = await sign(csr, signal);
  const after = parseIdentity(derOf(certificate));
  if (!after || uriOf(after) !== uri) {
    throw new DvsError(
      "INTERNAL",
      `The renewed certificate is for ${after ? uriOf(after) : "nobody"}, not ${uri}.`,
    );
  }
  const publicKey = createPublicKey(createPrivateKey(key)).export({ type: "spki", format: "der" });
  if (!Buffer.from(derOf(certificate)).includes(publicKey)) {
    throw new DvsError("INTERNAL", "The renewed certificate is not for the key of the request.");
  }
  if (validityOf(certificate).notAfterMs <= validityOf(old.certificate).notAfterMs) {
    throw new DvsError("INTERNAL", "The renewed certificate ends no later than the one it replaces.");
  }
  return { certificate, key };
}
