import { afterEach, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { DvsError } from "../../../core/errors.ts";
import { issueCertificate } from "../../../core/trust/authority.ts";
import { nodeUri, validityOf } from "../../../core/trust/identity.ts";
import { decideRenewal } from "../../../core/transport/renewal-machine.ts";
import { startRenewal } from "../../../core/transport/renewal.ts";
import type { Renewal, RenewalOptions } from "../../../core/transport/renewal.ts";
import { authority, dayMs, forged, hourMs, issued } from "../trust/lab.ts";

const minuteMs = 60_000;
const validity = { notBeforeMs: 0, notAfterMs: 30 * dayMs, renewAtMs: 10 * dayMs };
const calm = { validity, failures: 0, lastAttemptMs: null, jitter: 0 };

describe("renewal is due", () => {
  test("after a third of the life, and never before", () => {
    expect(decideRenewal(calm, 10 * dayMs)).toEqual({ act: "renew" });
    expect(decideRenewal(calm, 10 * dayMs - 1)).toEqual({ act: "wait", ms: 1 });
    expect(decideRenewal(calm, 0)).toEqual({ act: "wait", ms: 10 * minuteMs });
  });

  test("for nodes that joined together, spread over a day", () => {
    expect(decideRenewal({ ...calm, jitter: 1 }, 10 * dayMs).act).toBe("wait");
    expect(decideRenewal({ ...calm, jitter: 1 }, 11 * dayMs).act).toBe("renew");
  });

  test("also when it has expired", () => {
    expect(decideRenewal({ ...calm, jitter: 1 }, 40 * dayMs)).toEqual({ act: "renew" });
  });

  test("again after failures: at first in a minute, later hourly, and at once when the clock was set back", () => {
    const failed = { ...calm, lastAttemptMs: 12 * dayMs, jitter: 1 };
    const due = (failures: number, afterMs: number) =>
      decideRenewal({ ...failed, failures }, 12 * dayMs + afterMs).act;
    expect(due(1, minuteMs - 1)).toBe("wait");
    expect(due(1, minuteMs)).toBe("renew");
    expect(due(4, 8 * minuteMs - 1)).toBe("wait");
    expect(due(1_000, hourMs - 1)).toBe("wait");
    expect(due(1_000, hourMs)).toBe("renew");
    expect(due(1_000, -1)).toBe("renew");
  });

  test("for any life, often enough to be tried eight times before it ends", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 60_000, max: 400 * dayMs }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (life, jitter) => {
          const v = { notBeforeMs: 0, notAfterMs: life, renewAtMs: Math.floor(life / 3) };
          let state = { validity: v, failures: 0, lastAttemptMs: null as number | null, jitter };
          let attempts = 0;
          for (let now = 0; now < life && attempts < 10;) {
            const decision = decideRenewal(state, now);
            if (decision.act === "wait") {
              expect(decision.ms).toBeGreaterThan(0);
              now += Math.max(decision.ms, 1);
              continue;
            }
            attempts++;
            state = { ...state, failures: state.failures + 1, lastAttemptMs: now };
          }
          expect(attempts).toBeGreaterThanOrEqual(8);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("the driver", () => {
  let running: Renewal | undefined;
  afterEach(() => running?.stop());

  /** Clock at 11 days after the issue; the authority signs unless told otherwise. */
  async function rig(over: Partial<RenewalOptions> & { afterDays?: number } = {}) {
    const ca = await authority();
    const identity = await issued(ca, nodeUri("c1", "n1"));
    const installed: string[] = [];
    const errors: string[] = [];
    const start = Date.now();
    const clock = { nowMs: start + (over.afterDays ?? 11) * dayMs };
    const sign = (csr: string) =>
      issueCertificate(ca, { csr, uri: nodeUri("c1", "n1"), days: 30, now: new Date(clock.nowMs) });
    running = startRenewal({
      identity,
      sign,
      install: (next) => void installed.push(next.certificate),
      onError: (e: DvsError) => void errors.push(e.message),
      now: () => clock.nowMs,
      random: () => 0,
      ...over,
    });
    await running.check();
    return { ca, identity, installed, errors, clock, renewal: running, sign };
  }

  test("renews a certificate that is due, once, and the next one when that is due", async () => {
    const { installed, errors, clock, renewal } = await rig();
    expect(errors).toEqual([]);
    expect(installed.length).toBe(1);
    expect(validityOf(installed[0]!).notAfterMs).toBeGreaterThan(clock.nowMs + 29 * dayMs);
    await renewal.check();
    expect(installed.length).toBe(1);
    clock.nowMs += 11 * dayMs;
    await renewal.check();
    expect(installed.length).toBe(2);
  });

  test("leaves a young certificate alone", async () => {
    expect((await rig({ afterDays: 5 })).installed).toEqual([]);
  });

  test("keeps the old one and tries again when the coordinator is away", async () => {
    let calls = 0;
    const { installed, errors, clock, renewal } = await rig({
      sign: () => {
        calls++;
        return Promise.reject(new Error("connection refused"));
      },
    });
    expect([calls, installed, errors]).toEqual([1, [], ["connection refused"]]);
    await renewal.check();
    expect(calls).toBe(1);
    clock.nowMs += minuteMs;
    await renewal.check();
    expect(calls).toBe(2);
  });

  test("takes an installation that failed for a failed attempt", async () => {
    const { errors } = await rig({
      install: () => {
        throw new Error("disk full");
      },
    });
    expect(errors).toEqual(["disk full"]);
  });

  test("refuses a certificate of another identity, of another key, or that ends no later", async () => {
    const ca = await authority();
    const later = { notAfter: new Date(Date.now() + 90 * dayMs) };
    const other = await forged(ca, { uris: [nodeUri("c1", "n2")], ...later });
    expect((await rig({ sign: () => Promise.resolve(other.certificate) })).errors[0]).toContain(
      "n2, not spiffe",
    );
    running?.stop();
    const key = await forged(ca, { uris: [nodeUri("c1", "n1")], ...later });
    expect((await rig({ sign: () => Promise.resolve(key.certificate) })).errors[0]).toContain(
      "not for the key",
    );
    running?.stop();
    const { errors } = await rig({
      sign: (csr) => issueCertificate(ca, { csr, uri: nodeUri("c1", "n1"), days: 1 }),
    });
    expect(errors[0]).toContain("ends no later");
  });
});
