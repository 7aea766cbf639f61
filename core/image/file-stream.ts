/** A range of an open file as a web stream, read only as fast as it is taken. */
import type { FileHandle } from "node:fs/promises";
import { DvsError } from "../errors.ts";

/** Large enough that the cost of a turn does not show, small enough for thousands of slow readers. */
const pieceBytes = 64 * 1024;

export interface OpenedFile {
  file: FileHandle;
  /** Called before each piece; what it throws ends the stream with that error. */
  check?: () => void;
  /** Called once all bytes were read, before the stream completes. */
  complete?: () => Promise<void>;
}

/**
 * Bytes [start, end) of what `opened` opens at the first pull. Closes it in every case. A file that is shorter ends
 * the stream with UNAVAILABLE, so that nobody takes a part for the whole.
 */
export function streamFile(
  what: string,
  start: number,
  end: number,
  opened: () => Promise<OpenedFile>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let source: OpenedFile | undefined;
  let at = start;
  const close = async (): Promise<void> => {
    const file = source?.file;
    source = undefined;
    await file?.close();
  };
  return new ReadableStream(
    {
      async pull(controller) {
        try {
          source ??= await opened();
          source.check?.();
          if (at < end) {
            const piece = new Uint8Array(Math.min(pieceBytes, end - at));
            const { bytesRead } = await source.file.read(piece, 0, piece.length, at);
            if (bytesRead === 0) {
              throw new DvsError(
                "UNAVAILABLE",
                `Cannot read ${what}: it ends at byte ${at}, ${end} were expected`,
              );
            }
            at += bytesRead;
            controller.enqueue(bytesRead < piece.length ? piece.slice(0, bytesRead) : piece);
          }
          if (at >= end) {
            await source.complete?.();
            await close();
            controller.close();
          }
        } catch (e) {
          await close();
          throw e;
        }
      },
      cancel: close,
    },
    { highWaterMark: 0 },
  );
}
