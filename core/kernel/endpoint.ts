/**
 * An endpoint is the location-transparent address of a process in one instance: a slot and a generation. The slot
 * finds it in a table, the generation tells it from those that had the slot before, so that a message to a process
 * that has ended never reaches the next one (MINIX `endpoint.h`).
 *
 * Both are packed in one number, because endpoints are keys of hot maps and travel in every message:
 *
 *     endpoint = generation * 65,536 + slot        generation from 1 to 2^36, slot from 0 to 65,535
 *
 * Slots are leased to kernels in ranges, by record (view.ts); a kernel raises the generation each time it uses one
 * of its slots again, and a range that is leased anew starts above every generation that its former holder could
 * have given out.
 */
export type Endpoint = number;

export const slotsMax = 65_536;
export const generationMax = 2 ** 36;

/** Receives from anybody. */
export const ANY: Endpoint = -1;
/** Nobody: never bound. */
export const NONE: Endpoint = -2;
/** Stands for the caller. */
export const SELF: Endpoint = -3;

export function endpointOf(slot: number, generation: number): Endpoint {
  return generation * slotsMax + slot;
}
export function slotOf(endpoint: Endpoint): number {
  return endpoint % slotsMax;
}
export function generationOf(endpoint: Endpoint): number {
  return Math.floor(endpoint / slotsMax);
}
export function isEndpoint(value: unknown): value is Endpoint {
  return (
    Number.isSafeInteger(value) &&
    (value as number) >= slotsMax &&
    (value as number) < generationMax * slotsMax
  );
}

/** `3:17` = slot 3, generation 17: as people see it. */
export function formatEndpoint(endpoint: Endpoint): string {
  if (endpoint === ANY) return "any";
  if (endpoint === NONE) return "none";
  if (endpoint === SELF) return "self";
  return `${slotOf(endpoint)}:${generationOf(endpoint)}`;
}
