/** The last lines of a container's log, and what comes after them, as a stream. */
import { type FileHandle, open, stat } from "node:fs/promises";
import { DvsError } from "../errors.ts";
import { KiB } from "../limits.ts";
import { pause } from "./limited.ts";

const pieceBytes = 64 * KiB;
/** A follower looks for new bytes this often. */
const followMs = 200;

/**
 * Ends at the end of the file, or when `signal` is aborted if it follows. A log that was rotated meanwhile is
 * read from its new beginning. Rejects with NOT_FOUND when there is no log.
 */
export async function streamLog(
  path: string,
  options: { tailLines: number; follow: boolean; signal: AbortSignal },
): Promise<ReadableStream<Uint8Array>> {
  const { tailLines, follow, signal } = options;
  let file = await open(path, "r").catch((e: unknown) => {
    throw new DvsError("NOT_FOUND", "This container has no log yet.", { cause: e });
  });
  let at = await startOfTail(file, tailLines);
  const piece = new Uint8Array(pieceBytes);
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      while (!signal.aborted) {
        const { bytesRead } = await file.read(piece, 0, pieceBytes, at);
        if (bytesRead > 0) {
          at += bytesRead;
          controller.enqueue(piece.slice(0, bytesRead));
          return;
        }
        if (!follow) break;
        const next = await rotated(path, file, at);
        if (next) {
          await file.close();
          file = next;
          at = 0;
        } else {
          await pause(followMs, signal);
        }
      }
      await file.close();
      controller.close();
    },
    async cancel() {
      await file.close();
    },
  });
}

/** Where the last `lines` lines begin, found backwards. */
async function startOfTail(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines < 0) return 0;
  if (lines === 0) return size;
  const piece = new Uint8Array(pieceBytes);
  let found = 0;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - pieceBytes);
    const { bytesRead } = await file.read(piece, 0, end - start, start);
    for (let i = bytesRead - 1; i >= 0; i--) {
      // The newline that ends the file ends its last line: it begins none.
      if (piece[i] !== 10 || start + i === size - 1) continue;
      if (++found === lines) return start + i + 1;
    }
    end = start;
  }
  return 0;
}

/** The file that has the name now, when it is another one or has become shorter. */
async function rotated(path: string, file: FileHandle, at: number): Promise<FileHandle | null> {
  try {
    const [now, held] = await Promise.all([stat(path), file.stat()]);
    return now.ino !== held.ino || now.size < at ? await open(path, "r") : null;
  } catch {
    return null;
  }
}
