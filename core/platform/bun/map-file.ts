/** As ../map-file.ts, on Bun. */
export function mapFile(path: string): Uint8Array | null {
  try {
    return Bun.mmap(path, { shared: true });
  } catch {
    return null;
  }
}
