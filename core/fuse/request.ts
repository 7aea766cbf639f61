/**
 * A request of the kernel, as it was read from /dev/fuse: its header, and the fields of each kind of it. Nothing is
 * copied: what a WRITE brings is a view of the buffer that it was read into.
 *
 * Numbers of 64 bits are ids that this server gave out itself, or offsets: both below 2^53. Where the kernel means "to
 * the end" it says 2^63 − 1; that, and whatever else is no safe number, is Infinity. Owners of locks are random in all 64
 * bits and so texts.
 */
import { FileError } from "../files/errno.ts";
import type { FileTime } from "../files/attributes.ts";
import { inHeaderBytes, lockKinds } from "./abi.ts";

/** The kernel does not send it: another protocol, or a defect. The request is answered with EINVAL. */
export class MalformedRequest extends FileError {
  constructor(what: string) {
    super("EINVAL", `a request of FUSE that cannot be read: ${what}`);
  }
}

const names = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A byte further than any that can be told apart: what is at or above it is without an end. */
const unbounded = Number.MAX_SAFE_INTEGER;

export class Request {
  readonly opcode: number;
  readonly unique: number;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the thread that asks; 0: it is in another pid namespace. */
  readonly pid: number;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /** Throws MalformedRequest where there is no whole header, or another length than it says. */
  constructor(bytes: Uint8Array) {
    if (bytes.length < inHeaderBytes) throw new MalformedRequest(`${bytes.length} bytes`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const length = view.getUint32(0, true);
    if (length !== bytes.length) throw new MalformedRequest(`${bytes.length} bytes of ${length}`);
    this.bytes = bytes;
    this.#view = view;
    this.opcode = view.getUint32(4, true);
    this.unique = this.#u64(8);
    this.nodeid = this.#u64(16);
    this.uid = view.getUint32(24, true);
    this.gid = view.getUint32(28, true);
    this.pid = view.getUint32(32, true);
  }

  /** The fields below are counted from the end of the header. */
  u32(at: number): number {
    this.#has(at + 4);
    return this.#view.getUint32(inHeaderBytes + at, true);
  }

  /** Infinity where it is no safe number. */
  u64(at: number): number {
    this.#has(at + 8);
    return this.#u64(inHeaderBytes + at);
  }

  /** An offset or a length. Throws EFBIG where it is beyond what a file can have. */
  offset(at: number): number {
    const offset = this.u64(at);
    if (offset < unbounded) return offset;
    throw new FileError("EFBIG", "an offset beyond 2^53");
  }

  /** Hexadecimal digits, always 16. */
  owner(at: number): string {
    const low = this.u32(at);
    const high = this.u32(at + 4);
    return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
  }

  /** Seconds may be negative: before 1970. */
  time(secondsAt: number, nanosAt: number): FileTime {
    this.#has(secondsAt + 8);
    const at = inHeaderBytes + secondsAt;
    const seconds = this.#view.getInt32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    return { seconds, nanos: this.u32(nanosAt) };
  }

  /** Names, each ended by a zero byte, from there to the end of the request. Throws EILSEQ for what is not UTF-8. */
  names<N extends 1 | 2>(at: number, count: N): N extends 1 ? [string] : [string, string] {
    const found: string[] = [];
    let start = inHeaderBytes + at;
    while (found.length < count) {
      const end = this.bytes.indexOf(0, start);
      if (end < 0) throw new MalformedRequest("a name without an end");
      found.push(nameOf(this.bytes, start, end));
      start = end + 1;
    }
    return found as N extends 1 ? [string] : [string, string];
  }

  name(at: number): string {
    return this.names(at, 1)[0];
  }

  /** A view of its last bytes. */
  data(at: number, length: number): Uint8Array {
    this.#has(at + length);
    return this.bytes.subarray(inHeaderBytes + at, inHeaderBytes + at + length);
  }

  #has(end: number): void {
    if (inHeaderBytes + end > this.bytes.length) {
      throw new MalformedRequest(`opcode ${this.opcode} with ${this.bytes.length} bytes`);
    }
  }

  #u64(at: number): number {
    const high = this.#view.getUint32(at + 4, true);
    const low = this.#view.getUint32(at, true);
    return high < 2 ** 21 ? high * 2 ** 32 + low : Infinity;
  }
}

export type WantedLock = ReturnType<typeof lockOf>;

/** GETLK, SETLK, SETLKW. The kernel's last byte is within the range; here it is the one behind it. */
export function lockOf(request: Request) {
  const start = request.u64(16);
  const last = request.u64(24);
  const type = request.u32(32);
  const kind = (Object.keys(lockKinds) as (keyof typeof lockKinds)[]).find((k) => lockKinds[k] === type);
  if (!kind || start > last) throw new MalformedRequest(`a lock of type ${type} from ${start} to ${last}`);
  return {
    fh: request.u64(0),
    owner: request.owner(8),
    range: { start, end: last >= unbounded ? Infinity : last + 1 },
    kind,
    pid: request.u32(36),
    flags: request.u32(40),
  };
}

function nameOf(bytes: Uint8Array, start: number, end: number): string {
  const name = bytes.subarray(start, end);
  try {
    return names.decode(name);
  } catch {
    throw new FileError("EILSEQ", "a name that is not UTF-8");
  }
}
