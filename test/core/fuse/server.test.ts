import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { errnos } from "../../../core/files/errno.ts";
import { attrBytes, entryBytes, fuseMinorMin, initFlags, opcodes } from "../../../core/fuse/abi.ts";
import { body, FuseLab, fromHex, recorded } from "./lab.ts";

const high = 0;

describe("what Linux has sent", () => {
  test("is answered as it was when it was recorded, but for times", async () => {
    const lab = new FuseLab();
    for (const [request, answer] of recorded) {
      const bytes = fromHex(request);
      const view = new DataView(bytes.buffer);
      const unique = view.getUint32(8, true);
      await lab.raw(bytes);
      if (answer === "") {
        expect(lab.answerNow(unique)).toBeUndefined();
        continue;
      }
      const now = await lab.answer(unique);
      const before = fromHex(answer);
      const opcode = view.getUint32(4, true);
      const name = `opcode ${opcode}, ${unique}`;
      expect([name, Buffer.from(withoutTimes(opcode, now.bytes)).toString("hex")]).toEqual([
        name,
        Buffer.from(withoutTimes(opcode, before)).toString("hex"),
      ]);
    }
    expect(lab.logged).toEqual([]);
    await lab.close();
  });

  test("cut anywhere is answered once, with an error or not at all, and leaves the server whole", async () => {
    const lab = new FuseLab();
    let unique = 500_001;
    for (const [request] of recorded) {
      const whole = fromHex(request);
      for (let length = 0; length < whole.length; length += length < 40 ? 13 : 3) {
        const cut = whole.slice(0, length);
        const view = new DataView(cut.buffer);
        if (length >= 40) {
          // INIT once more is no harm, but would be taken for a whole one here.
          if (view.getUint32(4, true) === opcodes.SETLKW) continue;
          view.setUint32(0, length, true);
          view.setUint32(8, (unique += 2), true);
        }
        await lab.raw(cut);
      }
    }
    const alive = await lab.ask("GETATTR", 1, new Uint8Array(16));
    expect(alive.errno).toBe(0);
    await lab.close();
  });

  test("with another length than it says is nobody's request", async () => {
    const lab = new FuseLab();
    const [request] = recorded[1]!;
    await lab.raw(new Uint8Array([...fromHex(request), 0]));
    expect(lab.logged).toHaveLength(1);
    await lab.close();
  });
});

describe("INIT", () => {
  let lab: FuseLab;
  beforeAll(() => {
    lab = new FuseLab();
  });
  afterAll(() => lab.close());
  const init = (major: number, minor: number, flags: number, flags2 = 0) =>
    lab.ask("INIT", 0, body(major, minor, 131_072, flags, flags2, ...Array<number>(11).fill(0)));

  test("takes of what is offered only what it wants, and nothing else", async () => {
    const { errno, body: answer } = await init(7, 45, 0xffff_ffff, 0xffff_ffff);
    expect(errno).toBe(0);
    expect([answer.getUint32(0, true), answer.getUint32(20, true)]).toEqual([7, 1 << 20]);
    const flags = answer.getUint32(12, true);
    expect(flags & initFlags.posixLocks).toBe(initFlags.posixLocks);
    const writebackCache = 1 << 16;
    expect(flags & writebackCache).toBe(0);
    expect(answer.getUint16(28, true)).toBe(256);
    const none = await init(7, 45, 0);
    expect(none.body.getUint32(12, true)).toBe(0);
  });

  test("refuses a kernel that is too old, and tells a newer protocol which one is spoken", async () => {
    expect((await init(7, fuseMinorMin - 1, 0)).errno).toBe(errnos.EOPNOTSUPP);
    const newer = await init(8, 0, 0);
    expect([newer.errno, newer.body.getUint32(0, true)]).toEqual([0, 7]);
  });
});

describe("a request", () => {
  let lab: FuseLab;
  beforeAll(() => {
    lab = new FuseLab();
  });
  afterAll(() => lab.close());
  const makeFile = async (name: string) => {
    const { errno, body: answer } = await lab.ask("CREATE", 1, body(0o102, 0o644, 0, 0, name));
    expect(errno).toBe(0);
    return { ino: answer.getUint32(0, true), fh: answer.getUint32(entryBytes, true) };
  };

  test("of a kind that is not known is ENOSYS", async () => {
    expect((await lab.ask(999, 1, new Uint8Array(8))).errno).toBe(errnos.ENOSYS);
    expect((await lab.ask("GETXATTR", 1, body(0, 0, "user.x"))).errno).toBe(errnos.ENOSYS);
  });

  test("with a name that is no UTF-8 is EILSEQ, without an end EINVAL, with a slash EINVAL", async () => {
    expect((await lab.ask("LOOKUP", 1, new Uint8Array([0xff, 0xfe, 0]))).errno).toBe(errnos.EILSEQ);
    expect((await lab.ask("LOOKUP", 1, new Uint8Array([0x61]))).errno).toBe(errnos.EINVAL);
    expect((await lab.ask("MKDIR", 1, body(0o755, 0, "a/b"))).errno).toBe(errnos.EINVAL);
  });

  test("with a handle that nobody has is EBADF", async () => {
    const read = body(77, high, 0, high, 4_096, 0, 0, 0, 0, 0);
    expect((await lab.ask("READ", 1, read)).errno).toBe(errnos.EBADF);
    expect((await lab.ask("RELEASE", 1, body(77, high, 0, 0, 0, 0))).errno).toBe(errnos.EBADF);
  });

  test("of somebody is judged by the rights of that one", async () => {
    await makeFile("private");
    const { body: found } = await lab.ask("LOOKUP", 1, body("private"));
    const ino = found.getUint32(0, true);
    expect((await lab.ask("OPEN", ino, body(0o1, 0), { uid: 1_000 })).errno).toBe(errnos.EACCES);
    expect((await lab.ask("ACCESS", ino, body(2, 0), { uid: 1_000 })).errno).toBe(errnos.EACCES);
    expect((await lab.ask("OPEN", ino, body(0o0, 0), { uid: 1_000 })).errno).toBe(0);
    expect((await lab.ask("UNLINK", 1, body("private"), { uid: 1_000 })).errno).toBe(errnos.EACCES);
  });

  test("sets times before 1970, to the nanosecond", async () => {
    const { ino } = await makeFile("old");
    const valid = 16 | 32;
    const minus6 = [-6, -1] as const;
    const setattr = body(
      ...[valid, 0, 0, 0, 0, 0, 0, 0],
      ...[...minus6, ...minus6, 0, 0],
      ...[123_456_789, 987_654_321, 0, 0, 0, 0, 0, 0],
    );
    const { errno, body: answer } = await lab.ask("SETATTR", ino, setattr);
    expect(errno).toBe(0);
    expect(answer.getBigInt64(16 + 24, true)).toBe(-6n);
    expect(answer.getUint32(16 + 48, true)).toBe(123_456_789);
    expect(answer.getUint32(16 + 52, true)).toBe(987_654_321);
  });

  test("writes where the file is set to append now, whatever it was opened with", async () => {
    const { ino, fh } = await makeFile("appended");
    const append = 0o2000;
    const write = (offset: number, flags: number, text: string) =>
      lab.ask(
        "WRITE",
        ino,
        new Uint8Array([
          ...body(fh, high, offset, high, text.length, 0, 0, 0, flags | 2, 0),
          ...Buffer.from(text),
        ]),
      );
    await write(0, 0, "abc");
    await write(0, append, "def");
    await write(1, 0, "X");
    const read = await lab.ask("READ", ino, body(fh, high, 0, high, 100, 0, 0, 0, 0, 0));
    expect(Buffer.from(read.bytes.subarray(16)).toString()).toBe("aXcdef");
  });

  test("for a lock that waits ends with EINTR when it is interrupted, and says again what came before it", async () => {
    const { ino, fh } = await makeFile("locked");
    const lock = (owner: number) =>
      body(fh, high, owner, 0xdead, 0, high, 0xffff_ffff, 0x7fff_ffff, 1, 7, 0, 0);
    expect((await lab.ask("SETLK", ino, lock(1))).errno).toBe(0);
    expect((await lab.ask("SETLK", ino, lock(2))).errno).toBe(errnos.EAGAIN);
    const held = await lab.ask("GETLK", ino, lock(2));
    // To the end of the file is 2^63 - 1 for the kernel.
    expect([held.body.getUint32(8, true), held.body.getUint32(12, true)]).toEqual([0xffff_ffff, 0x7fff_ffff]);
    expect([held.body.getUint32(16, true), held.body.getUint32(20, true)]).toEqual([1, 7]);
    const waiting = lab.send("SETLKW", ino, lock(2));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(lab.answerNow(waiting)).toBeUndefined();
    lab.send("INTERRUPT", 0, body(waiting, high));
    expect((await lab.answer(waiting)).errno).toBe(errnos.EINTR);
    expect((await lab.ask("INTERRUPT", 0, body(123_456, high))).errno).toBe(errnos.EAGAIN);
  });

  test("to close a descriptor ends the posix locks of its owner, and of nobody else", async () => {
    const { ino, fh } = await makeFile("flushed");
    const lock = (owner: number, start: number) =>
      body(fh, high, owner, 0, start, high, start + 9, high, 1, 7, 0, 0);
    await lab.ask("SETLK", ino, lock(1, 0));
    await lab.ask("SETLK", ino, lock(2, 10));
    expect((await lab.ask("FLUSH", ino, body(fh, high, 0, 0, 1, 0))).errno).toBe(0);
    expect((await lab.ask("SETLK", ino, lock(3, 0))).errno).toBe(0);
    expect((await lab.ask("SETLK", ino, lock(3, 10))).errno).toBe(errnos.EAGAIN);
  });
});

describe("a directory", () => {
  for (const plus of [false, true]) {
    test(`that is read in small pieces${plus ? ", with attributes," : ""} names each entry once`, async () => {
      const lab = new FuseLab();
      const made = Array.from({ length: 57 }, (_, i) => `entry-${"x".repeat(i)}`);
      for (const name of made) await lab.ask("MKDIR", 1, body(0o755, 0, name));
      const found: string[] = [];
      for (let offset = 0, more = true; more;) {
        const ask = body(0, high, offset, high, 700, 0, 0, 0, 0, 0);
        const { errno, body: list } = await lab.ask(plus ? "READDIRPLUS" : "READDIR", 1, ask);
        expect(errno).toBe(0);
        expect(list.byteLength).toBeLessThanOrEqual(700);
        more = list.byteLength > 0;
        for (let at = 0; at < list.byteLength;) {
          if (plus) at += entryBytes;
          offset = list.getUint32(at + 8, true);
          const length = list.getUint32(at + 16, true);
          found.push(Buffer.from(list.buffer, list.byteOffset + at + 24, length).toString());
          at += 24 + Math.ceil(length / 8) * 8;
        }
      }
      expect(found.toSorted()).toEqual([".", "..", ...made].toSorted());
      await lab.close();
    });
  }
});

test("with the policy open a file that has not changed keeps its pages, and one that has does not", async () => {
  const lab = new FuseLab("open");
  const { body: made } = await lab.ask("CREATE", 1, body(0o102, 0o644, 0, 0, "f"));
  const ino = made.getUint32(0, true);
  const fh = made.getUint32(entryBytes, true);
  const keeps = async () => (await lab.ask("OPEN", ino, body(0, 0))).body.getUint32(8, true) & 2;
  expect(await keeps()).toBe(2);
  const write = new Uint8Array([...body(fh, high, 0, high, 1, 0, 0, 0, 2, 0), 65]);
  expect((await lab.ask("WRITE", ino, write)).errno).toBe(0);
  expect(await keeps()).toBe(0);
  expect(await keeps()).toBe(2);
  const elsewhere = lab.lone.client("elsewhere");
  await elsewhere.setAttributes(ino, { size: 9 });
  expect(await keeps()).toBe(0);
  await lab.close();
});

/** atime, mtime and ctime of the attributes that are in an answer, made zero; free space likewise. */
function withoutTimes(opcode: number, bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const attrAt = [opcodes.GETATTR, opcodes.SETATTR].includes(opcode as 3)
    ? 16 + 16
    : [opcodes.LOOKUP, opcodes.CREATE, opcodes.MKDIR, opcodes.MKNOD, opcodes.SYMLINK, opcodes.LINK].includes(
          opcode as 1,
        )
      ? 16 + 40
      : -1;
  if (attrAt < 0 || copy.length < attrAt + attrBytes) return opcode === opcodes.STATFS ? copy.fill(0) : copy;
  return copy.fill(0, attrAt + 24, attrAt + 60);
}
