/** A coordinator's store as the remote of pushes and pulls, without a network; what goes wrong is put in between. */
import type { BlobStore } from "../../../core/image/blob-store.ts";
import type { Remote } from "../../../core/image/remote.ts";
import { handleFetch, handleMissing, handleUpload, manifestOf } from "../../../core/image/transfer.ts";

export interface StoreRemote extends Remote {
  /** Digests of each fetch, in order. */
  fetched: string[][];
  uploads: number;
  /** Changes a pack on its way. */
  damage: (pack: ReadableStream<Uint8Array>) => ReadableStream<Uint8Array>;
}

export function storeRemote(store: BlobStore): StoreRemote {
  const remote: StoreRemote = {
    fetched: [],
    uploads: 0,
    damage: (pack) => pack,
    missing: (digests) => handleMissing(store, digests),
    async upload(pack) {
      remote.uploads++;
      await handleUpload(store, remote.damage(pack));
    },
    manifest: (digest) => manifestOf(store, digest),
    async fetch(digests) {
      remote.fetched.push(digests);
      return remote.damage(handleFetch(store, digests));
    },
  };
  return remote;
}

/** Lets `bytes` bytes through, then breaks. */
export function breakAfter(pack: ReadableStream<Uint8Array>, bytes: number): ReadableStream<Uint8Array> {
  let left = bytes;
  return pack.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        if (chunk.length <= left) {
          left -= chunk.length;
          controller.enqueue(chunk);
          return;
        }
        controller.enqueue(chunk.slice(0, left));
        controller.error(new Error("the connection broke"));
      },
    }),
  );
}

/** Turns a bit of the byte at `at`. */
export function flipAt(pack: ReadableStream<Uint8Array>, at: number): ReadableStream<Uint8Array> {
  let seen = 0;
  return pack.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        const copy = chunk.slice();
        if (at >= seen && at < seen + copy.length) copy[at - seen] = (copy[at - seen] ?? 0) ^ 1;
        seen += copy.length;
        controller.enqueue(copy);
      },
    }),
  );
}
