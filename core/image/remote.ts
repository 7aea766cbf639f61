/** The other end of a push or pull, as the API's client and the agent's link to the coordinator implement it. */

export interface Remote {
  /** Which of these blobs it has not. At most `digestsPerRequestMax` at a time. */
  missing(digests: string[], signal?: AbortSignal): Promise<string[]>;
  /** Stores a pack. Resolves when its blobs survive a power cut there. */
  upload(pack: ReadableStream<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** The bytes of an image's manifest, not verified; at most `manifestBytesMax`. NOT_FOUND where it is unknown. */
  manifest(digest: string, signal?: AbortSignal): Promise<Uint8Array>;
  /** A pack of these blobs, absent ones named in it. At most `digestsPerRequestMax` at a time. */
  fetch(digests: string[], signal?: AbortSignal): Promise<ReadableStream<Uint8Array>>;
}

export interface TransferProgress {
  blobs: number;
  blobsTotal: number;
  bytes: number;
  bytesTotal: number;
}

export interface TransferOptions {
  onProgress?: (progress: TransferProgress) => void;
  signal?: AbortSignal | undefined;
}
