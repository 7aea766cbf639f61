/** Result codes of SQLite that the store tells apart. https://www.sqlite.org/rescode.html */

const codes = { busy: 5, locked: 6, ioError: 10, corrupt: 11, full: 13, notADatabase: 26 } as const;

/** The primary code: extended ones carry it in their low byte. Null for an error of anything else. */
function codeOf(error: unknown): number | null {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === "number" ? code & 0xff : null;
}

export function isBusy(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.busy || code === codes.locked;
}

/** The disk, or a limit on the size of the file, is full. */
export function isFull(error: unknown): boolean {
  return codeOf(error) === codes.full;
}

export function isDamaged(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.corrupt || code === codes.notADatabase;
}

export function isSqliteError(error: unknown): boolean {
  return codeOf(error) !== null;
}

/** What the statement and the data alone have brought about (error, too big, constraint, mismatch, misuse, range). */
export function isDeterministic(error: unknown): boolean {
  return [1, 18, 19, 20, 21, 25].includes(codeOf(error) ?? -1);
}
