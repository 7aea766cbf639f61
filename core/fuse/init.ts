/** INIT, the first request: what the kernel can and what of it is used. */
import { FileError } from "../files/errno.ts";
import { fuseMajor, fuseMinor, fuseMinorMin, type InitFlag, initFlags, pageBytes } from "./abi.ts";
import { Answer } from "./answer.ts";
import type { Request } from "./request.ts";

/** Data of one WRITE, and of one READ: what 256 pages hold, which is the most that the kernel takes. */
export const dataBytesMax = 1_024 * 1_024;
/** Of one COPY_FILE_RANGE: what is soon done, so that a signal is soon noticed. */
export const copiedBytesMax = 8 * dataBytesMax;
/** Requests that the kernel sends for reading ahead, before somebody waits for them. */
const backgroundMax = 64;

export interface Negotiated {
  /** The kernel's. */
  minor: number;
  flags: ReadonlySet<InitFlag>;
}

export interface Init {
  negotiated: Negotiated;
  answer: Answer;
}

/**
 * Takes what there is of the wanted. A kernel of an earlier major version cannot be served; one of a later is answered
 * with ours, and asks again. Throws EOPNOTSUPP.
 */
export function answerInit(request: Request, wanted: readonly InitFlag[]): Init {
  const major = request.u32(0);
  const minor = request.u32(4);
  if (major < fuseMajor || (major === fuseMajor && minor < fuseMinorMin)) {
    throw new FileError(
      "EOPNOTSUPP",
      `this kernel speaks version ${major}.${minor} of FUSE, and ${fuseMajor}.${fuseMinorMin} is needed (Linux 5.4)`,
    );
  }
  const answer = new Answer(64).u32(0, fuseMajor).u32(4, fuseMinor);
  if (major > fuseMajor) return { negotiated: { minor: 0, flags: new Set() }, answer };
  const readahead = request.u32(8);
  const low = request.u32(12);
  const hasMore = (low & initFlags.initExt) !== 0;
  const high = hasMore ? request.u32(16) : 0;
  const has = (flag: InitFlag) => {
    const bit = initFlags[flag];
    return bit < 2 ** 32 ? (low & bit) !== 0 : (high & (bit / 2 ** 32)) !== 0;
  };
  const flags = new Set(wanted.filter(has));
  if (hasMore) flags.add("initExt");
  const sum = [...flags].reduce((all, flag) => all + initFlags[flag], 0);
  answer
    .u32(8, readahead)
    .u32(12, sum >>> 0)
    .u16(16, backgroundMax)
    .u16(18, (backgroundMax * 3) / 4)
    .u32(20, dataBytesMax)
    // Times are exact to the nanosecond.
    .u32(24, 1)
    .u16(28, dataBytesMax / pageBytes)
    .u32(32, Math.floor(sum / 2 ** 32));
  return { negotiated: { minor, flags }, answer };
}
