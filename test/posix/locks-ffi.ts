/** flock and fcntl locks of real files: node:fs has neither. Bun on Linux only. */
import { dlopen, FFIType, ptr, read } from "bun:ffi";

const libc = dlopen("libc.so.6", {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  __errno_location: { args: [], returns: FFIType.ptr },
}).symbols;

const names = new Map([
  [4, "EINTR"],
  [9, "EBADF"],
  [11, "EAGAIN"],
  [22, "EINVAL"],
  [35, "EDEADLK"],
  [37, "ENOLCK"],
]);
export type LockKind = "shared" | "exclusive" | "none";

export function flock(fd: number, kind: LockKind, wait: boolean): void {
  checked(libc.flock(fd, { shared: 1, exclusive: 2, none: 8 }[kind] | (wait ? 0 : 4)));
}

/** F_SETLK and F_SETLKW; a length of 0 goes to the end. */
export function setLock(fd: number, kind: LockKind, start: number, length: number, wait: boolean): void {
  checked(libc.fcntl(fd, wait ? 7 : 6, ptr(request(kind, start, length))));
}

/** F_GETLK: what is in the way; null: nothing. */
export function getLock(fd: number, kind: LockKind, start: number, length: number): object | null {
  const bytes = request(kind, start, length);
  checked(libc.fcntl(fd, 5, ptr(bytes)));
  const view = new DataView(bytes.buffer);
  const type = view.getInt16(0, true);
  if (type === 2) return null;
  return {
    kind: type === 0 ? "shared" : "exclusive",
    start: Number(view.getBigInt64(8, true)),
    length: Number(view.getBigInt64(16, true)),
  };
}

/** struct flock of 64-bit Linux. */
function request(kind: LockKind, start: number, length: number): Uint8Array {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setInt16(0, { shared: 0, exclusive: 1, none: 2 }[kind], true);
  view.setBigInt64(8, BigInt(start), true);
  view.setBigInt64(16, BigInt(length), true);
  return bytes;
}

function checked(result: number): void {
  if (result >= 0) return;
  const number = read.i32(libc.__errno_location()!, 0);
  throw Object.assign(new Error(`errno ${number}`), { code: names.get(number) ?? `E${number}` });
}
