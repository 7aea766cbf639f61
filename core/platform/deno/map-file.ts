/** As ../map-file.ts, on Deno, which maps no files. */
export function mapFile(): null {
  return null;
}
