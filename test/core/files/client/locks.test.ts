import { expect, setDefaultTimeout, test } from "bun:test";
import { DvsError } from "../../../../core/errors.ts";
import { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import { FileError } from "../../../../core/files/errno.ts";
import { type LockRequest, type OpenFile, rootIno } from "../../../../core/files/file-system.ts";
import { labForFile, type VolumeLab } from "./volume-lab.ts";

setDefaultTimeout(60_000);
let lab: VolumeLab;
let a: VolumeClient;
let b: VolumeClient;
labForFile((opened) => {
  lab = opened;
  [a, b] = [lab.volume("client-a"), lab.volume("client-b")];
});

const whole = { start: 0, end: Infinity };
const flock = (owner: string, more: Partial<LockRequest> = {}): LockRequest => ({
  type: "flock",
  kind: "exclusive",
  range: whole,
  owner,
  ...more,
});
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (e: unknown) => (e instanceof FileError ? e.code : String(e)),
  );
let names = 0;
async function opened(): Promise<[OpenFile, OpenFile]> {
  const { file } = await a.create(rootIno, `lock-${++names}`, 0o644, { read: true, write: true });
  return [file, await b.open(file.ino, { read: true, write: true })];
}

test("a lock is refused while another client has it, and granted to who waits", async () => {
  const [mine, theirs] = await opened();
  await mine.lock(flock("me"));
  expect(await codeOf(theirs.lock(flock("you")))).toBe("EAGAIN");
  let granted = false;
  const waiting = theirs.lock(flock("you", { wait: true })).then(() => (granted = true));
  await Bun.sleep(30);
  expect(granted).toBe(false);
  await mine.lock(flock("me", { kind: "none" }));
  await waiting;
  expect(await codeOf(mine.lock(flock("me")))).toBe("EAGAIN");
  await theirs.close({ flockOwner: "you" });
  expect(await codeOf(mine.lock(flock("me")))).toBe("done");
  await mine.close({ flockOwner: "me" });
});

test("a wait that is ended holds nothing afterwards", async () => {
  const [mine, theirs] = await opened();
  await mine.lock(flock("me"));
  const abort = new AbortController();
  const waiting = codeOf(theirs.lock(flock("you", { wait: abort.signal })));
  await Bun.sleep(20);
  abort.abort();
  expect(await waiting).toBe("EINTR");
  await mine.lock(flock("me", { kind: "none" }));
  await mine.lock(flock("me"));
  expect(await codeOf(theirs.lock(flock("you", { wait: AbortSignal.abort() })))).toBe("EINTR");
  await Promise.all([mine.close({ flockOwner: "me" }), theirs.close({ flockOwner: "you" })]);
});

test("of many who wait each gets it, one at a time, over broken links", async () => {
  const [mine, theirs] = await opened();
  let holders = 0;
  let turns = 0;
  const take = async (file: OpenFile, owner: string) => {
    await file.lock(flock(owner, { wait: true }));
    expect(++holders).toBe(1);
    await Bun.sleep(1);
    turns++;
    holders--;
    await file.lock(flock(owner, { kind: "none" }));
  };
  const all = Array.from({ length: 20 }, (_, i) => take(i % 2 === 0 ? mine : theirs, `owner-${i}`));
  await Bun.sleep(5);
  lab.breakLinks();
  await Promise.all(all);
  expect(turns).toBe(20);
  await Promise.all([mine.close(), theirs.close()]);
});

/** A client of whose writes `fails` says which ones have no answer: they were not sent, or they were. */
function faulty(client: string, fails: (kind: number) => "unsent" | "sent" | null): VolumeClient {
  const state = lab.stateClient(client);
  return VolumeClient.open({
    client,
    state: {
      async write(module, operation) {
        const fate = fails((operation as number[])[0]!);
        const answer = fate === "unsent" ? null : await state.write(module, operation);
        if (fate !== null || !answer) throw new DvsError("UNAVAILABLE", "no replica answers");
        return answer;
      },
      read: (module, query) => state.read(module, query),
      follow: (module, query, resume, signal) => state.follow(module, query, resume, signal),
      sync: () => state.sync(),
    },
  });
}
const lockOperation = 10;

test("a lock that is given up while no replica answers is free as soon as one does, and not a later one of its owner", async () => {
  const { file: mine } = await a.create(rootIno, `lock-${++names}`, 0o644, { read: true, write: true });
  let times = 0;
  const c = faulty("client-unlocks", () => (times-- > 0 ? "unsent" : null));
  const theirs = await c.open(mine.ino, { read: true, write: true });
  const again = await c.open(mine.ino, { read: true, write: true });
  await theirs.lock(flock("you"));
  const waiting = mine.lock(flock("me", { wait: true }));
  await Bun.sleep(20);
  times = 2;
  await theirs.close({ flockOwner: "you" });
  // Asked for before it was given up: it is another lock, and comes behind who has waited.
  const next = again.lock(flock("you", { wait: true }));
  await waiting;
  await mine.lock(flock("me", { kind: "none" }));
  await next;
  expect(await codeOf(mine.lock(flock("me")))).toBe("EAGAIN");
  await again.close({ flockOwner: "you" });
  await mine.lock(flock("me"));
  await mine.close({ flockOwner: "me" });
  await c.close();
});

test("who waits and is told that nobody answers is granted nothing later", async () => {
  const [mine, other] = await opened();
  await mine.lock(flock("me"));
  let times = 1;
  const c = faulty("client-leaves", (kind) => (kind === lockOperation && times-- > 0 ? "sent" : null));
  const theirs = await c.open(mine.ino, { read: true, write: true });
  expect(await codeOf(theirs.lock(flock("you", { wait: true })))).toContain("no replica answers");
  // Behind that one in the line.
  const waiting = other.lock(flock("other", { wait: true }));
  await Bun.sleep(20);
  await mine.lock(flock("me", { kind: "none" }));
  await waiting;
  await other.close({ flockOwner: "other" });
  await mine.close();
  await theirs.close();
  await c.close();
});

test("ranges are locked by process, and who is in the way is told", async () => {
  const [mine, theirs] = await opened();
  const range = (
    owner: string,
    start: number,
    end: number,
    more: Partial<LockRequest> = {},
  ): LockRequest => ({
    ...{ type: "posix", kind: "exclusive", owner, range: { start, end }, pid: 42 },
    ...more,
  });
  await mine.lock(range("me", 0, 10));
  await theirs.lock(range("you", 10, 20));
  expect(await theirs.lockedBy(range("you", 5, 15))).toEqual({
    kind: "exclusive",
    range: { start: 0, end: 10 },
    pid: 42,
  });
  expect(await theirs.lockedBy(range("you", 10, 15))).toBeNull();
  // Each waits for the other: one of them is told.
  const mineWaits = codeOf(mine.lock(range("me", 10, 20, { wait: true })));
  await Bun.sleep(20);
  expect(await codeOf(theirs.lock(range("you", 0, 10, { wait: true })))).toBe("EDEADLK");
  await theirs.close({ posixOwner: "you" });
  expect(await mineWaits).toBe("done");
  await mine.close({ posixOwner: "me" });
});

test("the locks of a client that is gone are free", async () => {
  const [mine] = await opened();
  const dying = lab.volume("client-dying");
  const theirs = await dying.open(mine.ino, { read: true });
  await theirs.lock(flock("you"));
  const waiting = mine.lock(flock("me", { wait: true }));
  await Bun.sleep(10);
  await lab.removeClient("client-dying");
  await waiting;
  await mine.close({ flockOwner: "me" });
});

test("an offset is shared by clients, and gone with the last", async () => {
  const [mine, theirs] = await opened();
  await mine.write(0, new Uint8Array(100));
  const offset = await a.sharedOffset(mine.ino);
  const other = await b.joinOffset(offset.id);
  expect(await offset.take(30, false)).toEqual({ offset: 0, length: 30 });
  expect(await other.take(100, false)).toEqual({ offset: 30, length: 70 });
  expect(await offset.take(50, true)).toEqual({ offset: 100, length: 50 });
  await other.seek(7);
  expect(await offset.get()).toBe(7);
  const twice = await b.joinOffset(offset.id);
  await offset.leave();
  await other.leave();
  expect(await twice.get()).toBe(7);
  await twice.leave();
  expect(await codeOf(b.joinOffset(offset.id))).toBe("EBADF");
  await Promise.all([mine.close(), theirs.close()]);
});

test("changes are told, of whichever client, also over a broken link", async () => {
  const [mine, theirs] = await opened();
  const stop = new AbortController();
  const told: { ino: number; change: number }[] = [];
  const listening = (async () => {
    for await (const changes of b.changes(stop.signal)) told.push(...changes);
  })();
  const seen = async (change: number) => {
    while (!told.some((t) => t.ino === mine.ino && t.change >= change)) await Bun.sleep(2);
  };
  await Bun.sleep(30);
  await mine.write(0, new Uint8Array(5));
  await seen((await mine.attributes()).change);
  lab.breakLinks();
  await theirs.write(5, new Uint8Array(5));
  await seen((await mine.attributes()).change);
  stop.abort();
  await listening;
  await Promise.all([mine.close(), theirs.close()]);
});

test("a client that is no kernel keeps what it has while it says that it is there", async () => {
  const [mine] = await opened();
  const attending = lab.attending("attending");
  const theirs = await attending.open(mine.ino, { read: true });
  await theirs.lock(flock("you"));
  expect(await codeOf(mine.lock(flock("me")))).toBe("EAGAIN");
  await attending.close();
});
