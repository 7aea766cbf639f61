/**
 * What a replica must know about itself before it does anything, in one small file beside the log. It is replaced as a
 * whole, and on the disk before anybody acts on it: an epoch that was only remembered is forgotten by a power cut, and
 * then accepted a second time.
 */
import { crc32 } from "../checksum.ts";
import { DvsError } from "../errors.ts";
import type { DiskId, Durability } from "../replica/configuration.ts";
import { type Done, type LogFile, type LogFiles, NoSpace } from "./log-files.ts";
import { call, run, type Steps } from "./steps.ts";

export interface Metadata {
  /** Made with the log, and lost with it. */
  disk: DiskId;
  /** The highest that were ever seen: older ones are refused. */
  epochSeen: number;
  generationSeen: number;
  /** How the log was written since `bootId`: with `replicated`, a boot without `clean` means that its end may be lost. */
  mode: Durability;
  /** The machine's boot in which the log was last open. */
  bootId: string;
  /** Of an orderly end: all up to here was durable. Null while the log is open. */
  clean: { durable: number } | null;
  /** Records that it acknowledged as written are lost: by a power cut, or by a sync that failed. */
  amnesiac: boolean;
  /** `ReplicaMeta.damaged`. */
  damaged?: boolean;
  /** `ReplicaMeta.memberVersion`. */
  memberVersion?: number;
}

const name = "metadata";
const temporaryName = "metadata.new";
const format = 1;

/** Null when there is none yet. Throws FAILED when it is damaged: then nobody knows what this replica has promised. */
export function* readMetadata(files: LogFiles): Steps<Metadata | null> {
  const names = yield* call<string[]>((done) => files.list(done));
  if (!names.includes(name)) return null;
  const file = yield* call<LogFile>((done) => files.open(name, "read", done));
  try {
    const size = yield* call<number>((done) => file.size(done));
    return decode(yield* call<Uint8Array>((done) => file.read(0, size, done)));
  } finally {
    yield* call((done) => file.close(done));
  }
}

/** Durable when it returns. On an error the old one stands, or the new one. */
export function* writeMetadata(files: LogFiles, metadata: Metadata): Steps<void> {
  const file = yield* call<LogFile>((done) => files.open(temporaryName, "create", done));
  try {
    yield* call((done) => file.write([encode(metadata)], 0, done));
    yield* call((done) => file.datasync(done));
  } finally {
    yield* call((done) => file.close(done));
  }
  yield* call((done) => files.rename(temporaryName, name, done));
  yield* call((done) => files.syncDirectory(done));
}

/** Saves one after the other; of several that wait, only the newest. */
export class MetadataFile {
  readonly #files: LogFiles;
  #current: Metadata;
  #waiting: { metadata: Metadata; done: Done[] } | null = null;
  #saving = false;
  /** Runs it a little later. Where it is set, a full disk is waited out: what must be written before acting is not given up. */
  retry: ((run: () => void) => void) | null;

  constructor(files: LogFiles, current: Metadata, retry: ((run: () => void) => void) | null = null) {
    this.#files = files;
    this.#current = current;
    this.retry = retry;
  }

  /** As it was last given, saved or not. */
  get current(): Metadata {
    return this.#waiting?.metadata ?? this.#current;
  }

  /** `done` when it, or a newer one, is on the disk. */
  save(change: Partial<Metadata>, done: Done): void {
    const metadata = { ...this.current, ...change };
    this.#waiting = { metadata, done: [...(this.#waiting?.done ?? []), done] };
    this.#next();
  }

  #next(): void {
    const next = this.#waiting;
    if (this.#saving || !next) return;
    this.#saving = true;
    this.#waiting = null;
    this.#current = next.metadata;
    run(writeMetadata(this.#files, next.metadata), (error) => {
      if (error instanceof NoSpace && this.retry) {
        const { metadata, done } = this.#waiting ?? { metadata: next.metadata, done: [] };
        this.#waiting = { metadata, done: [...next.done, ...done] };
        return this.retry(() => {
          this.#saving = false;
          this.#next();
        });
      }
      this.#saving = false;
      for (const done of next.done) done(error);
      this.#next();
    });
  }
}

function encode(metadata: Metadata): Uint8Array {
  const text = JSON.stringify({ format, ...metadata });
  return new TextEncoder().encode(`${crc32(text)} ${text}\n`);
}

function decode(bytes: Uint8Array): Metadata {
  const line = new TextDecoder().decode(bytes);
  const space = line.indexOf(" ");
  const text = line.slice(space + 1, -1);
  if (space < 1 || !line.endsWith("\n") || line.slice(0, space) !== String(crc32(text))) {
    throw new DvsError(
      "FAILED",
      `Cannot read the replica's ${name}: its checksum is wrong, so the disk has damaged it. Remove this replica; another one takes its place.`,
    );
  }
  const { format: found, ...metadata } = JSON.parse(text) as Metadata & { format: number };
  if (found !== format) {
    throw new DvsError(
      "INVALID",
      `Cannot read the replica's ${name}: it has format ${found}, this dvs knows ${format}. Use the dvs that wrote it.`,
    );
  }
  return metadata;
}
