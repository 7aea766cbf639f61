/** Locks of one file, in the mind: who is in whose way, and what is left of an owner's locks after one more. */

export const lockTypes = { flock: 0, posix: 1 } as const;
export const lockKinds = { none: 0, shared: 1, exclusive: 2 } as const;

/** Bytes [start, end). */
export interface Lock {
  readonly client: string;
  readonly owner: string;
  readonly start: number;
  readonly end: number;
  readonly kind: number;
  readonly pid: number;
}

export function isSameOwner(a: Pick<Lock, "client" | "owner">, b: Pick<Lock, "client" | "owner">): boolean {
  return a.client === b.client && a.owner === b.owner;
}

export function isInWay(held: Lock, wanted: Lock): boolean {
  const overlap = held.start < wanted.end && wanted.start < held.end;
  const exclusive = held.kind === lockKinds.exclusive || wanted.kind === lockKinds.exclusive;
  return overlap && exclusive && !isSameOwner(held, wanted);
}

/** Of one owner's locks: which of them go, and which come in their place. Neighbours of one kind become one. */
export function withLock(own: readonly Lock[], wanted: Lock): { removed: Lock[]; added: Lock[] } {
  let { start, end } = wanted;
  const removed: Lock[] = [];
  const rest: Lock[] = [];
  for (const lock of own) {
    const touches = lock.start <= wanted.end && wanted.start <= lock.end;
    const overlaps = lock.start < wanted.end && wanted.start < lock.end;
    if (lock.kind === wanted.kind && touches) {
      removed.push(lock);
      start = Math.min(start, lock.start);
      end = Math.max(end, lock.end);
    } else if (overlaps) {
      removed.push(lock);
      if (lock.start < wanted.start) rest.push({ ...lock, end: wanted.start });
      if (lock.end > wanted.end) rest.push({ ...lock, start: wanted.end });
    }
  }
  if (wanted.kind !== lockKinds.none) rest.push({ ...wanted, start, end });
  return { removed, added: rest };
}
