/**
 * What clients asked of files and were told, and whether files that change by one operation at a time can have told
 * that: in the order of the log, which all replicas have carried out, with each operation between its call and its
 * return, and each read at some moment between its own.
 *
 * The log is the witness for the order of what changes, so that no order has to be searched for: a history that is
 * linearizable in another order only is refused, too, since replicas promise this one.
 */
import type { FileQuery, FileResult } from "../../../../core/files/operations.ts";
import { type Commit, FilesModel, shown } from "./files-model.ts";

export interface FilesCall {
  readonly client: string;
  /** Null: it changes something. */
  readonly query: FileQuery | null;
  /** For people. */
  readonly what: string;
  readonly called: number;
  /** Infinity: what became of it is not known. */
  returned: number;
  result: FileResult | null;
  /** Of what changes something: its record; 0: there is none. Of a read: the last that was carried out when it returned. */
  index: number;
  at: string;
}

/** The log until a person accepted a loss, or until now. */
export interface Era {
  /** By index, from 1 on; nothing: a record that is no operation of a client. */
  readonly commits: readonly (Commit | undefined)[];
  /** Calls of before are of another era, and so are those of after. */
  readonly from: number;
  /** Infinity: it is the last. */
  readonly to: number;
  /** What was carried out before it began. */
  readonly kept: number;
}

interface Read {
  readonly call: FilesCall;
  /** The first record that it may be after. */
  readonly low: number;
  /** Records after which this is the answer. */
  readonly matches: number[];
}

/** What is wrong, or null. */
export function filesViolation(calls: readonly FilesCall[], era: Era): string | null {
  const own = calls.filter(
    ({ called, returned }) => called > era.from && called < era.to && returned <= era.to,
  );
  const reads = readsOf(own, era);
  const wrong = sweep(reads, era);
  return wrong ?? ordered(own, reads, era);
}

/** With the records that returned before each was called. */
function readsOf(calls: readonly FilesCall[], era: Era): Read[] {
  const reads: Read[] = [];
  let done = era.kept;
  for (const { time, call } of eventsOf(calls)) {
    if (time === call.returned && !call.query) done = Math.max(done, call.index);
    if (time === call.called && call.query && call.returned < Infinity)
      reads.push({ call, low: done, matches: [] });
  }
  return reads.sort((a, b) => a.low - b.low);
}

/** Carries out the log, and holds each read against what there is while it was under way. */
function sweep(reads: readonly Read[], { commits, kept }: Era): string | null {
  const model = new FilesModel();
  let open: Read[] = [];
  let next = 0;
  for (let index = 0; index < Math.max(commits.length, kept + 1); index++) {
    const commit = commits[index];
    const wrong = commit && model.apply(commit);
    if (wrong)
      return `record ${index}, ${shown(commit.operation ?? [])} of ${commit.client}, has come to ${wrong}`;
    while (next < reads.length && reads[next]!.low <= index) open.push(reads[next++]!);
    if (open.length === 0) continue;
    for (const { call, matches } of open) if (model.answers(call.query!, call.result!)) matches.push(index);
    open = open.filter(({ call }) => call.index > index);
  }
  return null;
}

/** Whether each can be at a record that is not before those of all that had returned when it was called. */
function ordered(calls: readonly FilesCall[], reads: readonly Read[], { kept }: Era): string | null {
  const readOf = new Map(reads.map((read) => [read.call, read]));
  const floors = new Map<FilesCall, number>();
  let floor = kept;
  for (const { time, call } of eventsOf(calls)) {
    if (time === call.called) {
      floors.set(call, floor);
      // Whatever became of it, it cannot be before it was asked for.
      if (!call.query && call.index > 0 && call.index <= floor)
        return `${shownCall(call)} is record ${call.index}, and ${floor} was seen before it was called`;
      continue;
    }
    if (!call.query) {
      floor = Math.max(floor, call.index);
      continue;
    }
    const { matches } = readOf.get(call)!;
    const least = floors.get(call)!;
    const match = matches.find((index) => index >= least);
    if (match === undefined) {
      const [last] = matches.slice(-1);
      const was =
        last === undefined ? "never was while it was under way" : `was so up to record ${last} only`;
      return `${shownCall(call)} told ${shown(call.result!)}, which ${was}; ${least} was seen before it was called, ${call.index} is the last`;
    }
    floor = Math.max(floor, match);
  }
  return null;
}

function eventsOf(calls: readonly FilesCall[]): { time: number; call: FilesCall }[] {
  const events: { time: number; call: FilesCall }[] = [];
  for (const call of calls) {
    events.push({ time: call.called, call });
    if (call.returned < Infinity) events.push({ time: call.returned, call });
  }
  return events.sort((a, b) => a.time - b.time);
}

function shownCall({ client, what, at }: FilesCall): string {
  return `${client} ${what} at ${at}`;
}
