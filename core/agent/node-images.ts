/** What an agent needs of images; `images.ts` does it with core/image. */
export interface NodeImages {
  /** Resolves when every file of the image is here and verified. Progress in words for people. */
  ensure(digest: string, progress: (reason: string) => void, signal: AbortSignal): Promise<void>;
  /** Fetches a blob anew that a container found missing or corrupted; resolves when it is good. */
  refetch(image: string, digest: string, signal: AbortSignal): Promise<void>;
  /** The images that are in use here: what belongs to no image is removed after a while. */
  setWanted(digests: ReadonlySet<string>): void;
  warnings(): string[];
  close(): void;
}
