/** Backups between agent and state process: whole, or told to be damaged; never silently cut. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DvsError } from "../../../../core/errors.ts";
import {
  backupError,
  type BackupHeader,
  checkedBackup,
  encodeBackup,
  readBackup,
  streamsOf,
} from "../../../../core/state/backup/format.ts";
import {
  openBackup,
  sendRestore,
  serveTransfers,
  type TransferHandlers,
} from "../../../../core/state/backup/transfer.ts";

const header: BackupHeader = {
  ...{ format: "dvs-state-backup", version: 1, tenant: "default", instance: "kv", uid: "u1", os: "hello" },
  ...{ epoch: 3, index: 42, madeAt: "2026-01-01T00:00:00.000Z" },
};
const large = new Uint8Array(3 * 1024 * 1024 + 7).map((_, i) => i % 251);
const never = new AbortController().signal;

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function joined(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part.slice());
  return Buffer.concat(parts);
}
const encoded = (bytes = large) => joined(encodeBackup(header, pieces(bytes, 100_000)));
const codeOf = (action: Promise<unknown>) =>
  action.then(
    () => "ok",
    (e: unknown) => (e as DvsError).code,
  );
const readAll = async (stream: AsyncIterable<Uint8Array>) => joined((await readBackup(stream)).chunks);

let dir: string;
let server: { close(): void } | null = null;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "dvs-"));
});
afterEach(() => {
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

async function serve(handlers: Partial<TransferHandlers>): Promise<string> {
  const path = join(dir, "transfer.sock");
  const none = () => Promise.reject(new DvsError("UNAVAILABLE", "this replica is not in sync"));
  server = await serveTransfers(path, { backup: none, restore: none, ...handlers });
  return path;
}

test("what goes in comes out, however it is cut on the way", async () => {
  const whole = await encoded();
  for (const size of [1_000, 65_536, whole.length]) {
    const { header: got, chunks } = await readBackup(pieces(whole, size));
    expect(got).toEqual(header);
    expect(Buffer.from(await joined(chunks)).equals(large)).toBe(true);
  }
  expect((await readAll(pieces(await encoded(new Uint8Array(0)), 1))).length).toBe(0);
});

test("a byte that flips, a tail that is missing and one that is too much are found out", async () => {
  const whole = await encoded(large.subarray(0, 2_000));
  const bad = [whole.subarray(0, -1), whole.subarray(0, 1_500), Buffer.concat([whole, new Uint8Array(1)])];
  for (const at of [300, 1_999, whole.length - 1]) {
    const flipped = whole.slice();
    flipped[at]! ^= 1;
    bad.push(flipped);
  }
  for (const bytes of bad) expect(await codeOf(readAll(pieces(bytes, 700)))).toBe("FAILED");
  expect(await codeOf(readAll(pieces(new TextEncoder().encode("<html>\n"), 3)))).toBe("INVALID");
  expect(await codeOf(readAll(pieces(backupError(new DvsError("EXHAUSTED", "full")), 3)))).toBe("EXHAUSTED");
});

test("a checked stream is the same stream, and ends with an error when it was not whole", async () => {
  const whole = await encoded();
  const seen: number[] = [];
  const checked = await joined(checkedBackup(pieces(whole, 9_999), ({ index }) => seen.push(index)));
  expect(Buffer.from(checked).equals(whole)).toBe(true);
  expect(seen).toEqual([42]);
  expect(await codeOf(joined(checkedBackup(pieces(whole.subarray(0, 50_000), 999))))).toBe("FAILED");
});

test("a backup comes over the socket, and goes back over it", async () => {
  let restored = new Uint8Array(0);
  let released = 0;
  const path = await serve({
    backup: () => Promise.resolve({ header, chunks: pieces(large, 77_777), release: () => void released++ }),
    async restore(of, chunks) {
      restored = new Uint8Array(await joined(chunks));
      return { index: of.index + 1 };
    },
  });
  const whole = await joined(await openBackup(path, never));
  expect(Buffer.from(await readAll(pieces(whole, 4_096))).equals(large)).toBe(true);
  expect(await sendRestore(path, pieces(whole, 50_000), never)).toEqual({ index: 43 });
  expect(Buffer.from(restored).equals(large)).toBe(true);
  expect(released).toBe(1);
});

test("who has no backup to give says why; a backup that breaks off is found out at its end", async () => {
  const path = await serve({});
  expect(await codeOf(readAll(await openBackup(path, never)))).toBe("UNAVAILABLE");
  server!.close();
  async function* cut(): AsyncGenerator<Uint8Array> {
    yield large.subarray(0, 1_000);
    throw new Error("the disk is gone");
  }
  const broken = await serve({ backup: () => Promise.resolve({ header, chunks: cut() }) });
  expect(await codeOf(readAll(await openBackup(broken, never)))).not.toBe("ok");
});

test("a restore that is refused, damaged or cut short changes nothing, and says so", async () => {
  let acted = 0;
  const path = await serve({
    async restore(_, chunks) {
      await joined(chunks);
      acted++;
      throw new DvsError("CONFLICT", "the instance is not empty");
    },
  });
  const whole = await encoded();
  expect(await codeOf(sendRestore(path, pieces(whole, 50_000), never))).toBe("CONFLICT");
  expect(await codeOf(sendRestore(path, pieces(whole.subarray(0, 90_000), 50_000), never))).toBe("FAILED");
  expect(acted).toBe(1);
  expect(await codeOf(sendRestore(join(dir, "nobody.sock"), pieces(whole, 1_000), never))).toBe(
    "UNAVAILABLE",
  );
});

test("a restore that is refused at once is told so, however much is still being sent", async () => {
  const path = await serve({ restore: () => Promise.reject(new DvsError("INVALID", "of another OS")) });
  expect(await codeOf(sendRestore(path, pieces(await encoded(), 50_000), never))).toBe("INVALID");
});

test("streams are told apart by the sizes in the header, however the bytes are cut", async () => {
  const streams = ["state", "empty", "blocks/1"].map((name, i) => ({ name, bytes: [100_000, 0, 7][i]! }));
  const of: BackupHeader = { ...header, version: 2, streams };
  const bytes = large.subarray(0, 100_007);
  for (const size of [1, 9_999, 100_007]) {
    const found = new Map<string, number>();
    for await (const [name, part] of streamsOf(of, pieces(bytes, size)))
      found.set(name, (found.get(name) ?? 0) + part.length);
    expect([...found]).toEqual([
      ["state", 100_000],
      ["blocks/1", 7],
    ]);
  }
  const all = async (chunks: Uint8Array) => {
    for await (const part of streamsOf(of, pieces(chunks, 9_999))) void part;
  };
  expect(await codeOf(all(large.subarray(0, 100_006)))).toBe("FAILED");
  expect(await codeOf(all(large.subarray(0, 100_008)))).toBe("FAILED");
  const whole = await joined(encodeBackup(of, pieces(bytes, 9_999)));
  expect((await readBackup(pieces(whole, 999))).header).toEqual(of);
  for (const wrong of [
    { ...of, version: 3 },
    { ...header, version: 2 },
    { ...of, version: 1 },
  ]) {
    const line = new TextEncoder().encode(`${JSON.stringify(wrong)}\n`);
    expect(await codeOf(readAll(pieces(line, 99)))).toBe("INVALID");
  }
});
