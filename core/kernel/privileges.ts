/**
 * What a process may do, as the VOS declared it when it bound the process (MINIX `priv.h`).
 *
 * A process belongs to one of at most 31 groups, to which the VOS gives meanings: users, file servers, drivers. It may
 * call the groups of `to`, and be called by those of `from`: both must agree. The sender's kernel checks before a
 * message leaves, and the receiver's kernel again. Sets are bits of one integer, so that a check is one operation.
 */
import { DvsError } from "../errors.ts";
import { groupsMax } from "../limits.ts";

/** Calls that can be forbidden, each a bit. */
export const callBits = {
  send: 1 << 0,
  sendrec: 1 << 1,
  notify: 1 << 2,
  receive: 1 << 3,
  reply: 1 << 4,
  copy: 1 << 5,
  bind: 1 << 6,
  lookup: 1 << 7,
  info: 1 << 8,
  move: 1 << 9,
} as const;
export type CallName = keyof typeof callBits;

/** 0 is the least: for people and programs; a VOS's servers and drivers; the kernel's host. For getInfo and the VOS. */
export const levels = { user: 0, server: 1, driver: 2, system: 3 } as const;
export type Level = keyof typeof levels;

export interface Privileges {
  level: Level;
  /** 0 to 30. */
  group: number;
  /** Groups that it may call; "all" or their numbers. */
  to: "all" | readonly number[];
  /** Groups that may call it. */
  from: "all" | readonly number[];
  calls: "all" | readonly CallName[];
}

/** The same as bits, checked: what the kernel holds. */
export interface PrivilegeBits {
  level: Level;
  group: number;
  to: number;
  from: number;
  calls: number;
}

const allGroups = 2 ** groupsMax - 1;
const allCalls = Object.values(callBits).reduce((all, bit) => all | bit, 0);

/** Throws INVALID for what no VOS may declare. */
export function privilegeBits(privileges: Partial<Privileges> = {}): PrivilegeBits {
  const { level = "user", group = 0, to = "all", from = "all", calls = "all" } = privileges;
  if (!Object.hasOwn(levels, level))
    throw invalid(`level ${level}: one of ${Object.keys(levels).join(", ")}`);
  return {
    level,
    group: checkGroup(group),
    to: to === "all" ? allGroups : groupBits(to),
    from: from === "all" ? allGroups : groupBits(from),
    calls: calls === "all" ? allCalls : callsOf(calls),
  };
}

/** Bits that came from another kernel of the instance: null if they cannot be. */
export function isPrivilegeBits(value: unknown): value is PrivilegeBits {
  const bits = value as PrivilegeBits | null;
  const isSet = (set: number, all: number) => Number.isInteger(set) && (set & ~all) === 0;
  return (
    typeof bits === "object" &&
    bits !== null &&
    Object.hasOwn(levels, bits.level) &&
    isGroup(bits.group) &&
    isSet(bits.to, allGroups) &&
    isSet(bits.from, allGroups) &&
    isSet(bits.calls, allCalls)
  );
}

function isGroup(group: number): boolean {
  return Number.isInteger(group) && group >= 0 && group < groupsMax;
}

function checkGroup(group: number): number {
  if (!isGroup(group)) throw invalid(`group ${group}: an integer from 0 to ${groupsMax - 1}`);
  return group;
}

function groupBits(groups: readonly number[]): number {
  return groups.reduce((bits, group) => bits | (1 << checkGroup(group)), 0);
}

function callsOf(names: readonly CallName[]): number {
  return names.reduce((bits, name) => {
    if (!Object.hasOwn(callBits, name))
      throw invalid(`call ${name}: one of ${Object.keys(callBits).join(", ")}`);
    return bits | callBits[name];
  }, 0);
}

function invalid(what: string): DvsError {
  return new DvsError("INVALID", `Cannot give a process the privilege ${what}`);
}
