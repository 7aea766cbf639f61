import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { DvsError } from "../../../../core/errors.ts";
import { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import { answerFiles } from "../../../../core/files/remote/answer.ts";
import type { FilesAsk, PutFrame, PutLine } from "../../../../core/files/remote/ask.ts";
import { encodeFrame, readFrames } from "../../../../core/files/remote/frames.ts";
import { giveFiles } from "../../../../core/files/remote/give.ts";
import { putFiles } from "../../../../core/files/remote/put.ts";
import { openPath, resolvePath } from "../../../../core/files/paths.ts";
import { fileFrameBytesMax, putFramesMax } from "../../../../core/limits.ts";
import { VolumeLab } from "../client/volume-lab.ts";

setDefaultTimeout(60_000);
let lab: VolumeLab;
let fs: VolumeClient;
beforeAll(async () => {
  lab = await VolumeLab.open();
  fs = lab.volume("somebody");
});
afterAll(async () => {
  expect(lab.complaints).toEqual([]);
  await lab.close();
});

type Lines = Exclude<FilesAsk, { what: "give" | "put" }>;
/** As an agent does: each request is another client, those of one name the same one. */
async function ask(request: Lines): Promise<unknown> {
  const name = "client" in request ? request.client : crypto.randomUUID();
  const state = lab.stateClient(`once-${name}`);
  try {
    const once = VolumeClient.open({ state, client: `once-${name}`, once: true });
    return await answerFiles({ fs, once }, request);
  } finally {
    state.close();
  }
}
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (e: unknown) => (e instanceof DvsError ? e.code : String(e)),
  );
function streamOf(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece);
      controller.close();
    },
  });
}
const bytesOf = (text: string) => new TextEncoder().encode(text);
async function put(...frames: [PutFrame, Uint8Array?][]): Promise<PutLine[]> {
  const stream = streamOf(frames.map(([frame, bytes]) => encodeFrame(frame, bytes)));
  const lines: PutLine[] = [];
  for await (const line of putFiles(fs, stream)) lines.push(line);
  return lines;
}
async function contentOf(path: string): Promise<string> {
  const { file } = await openPath(fs, path, { read: true });
  const bytes = await file.read(0, 10_000_000);
  await file.close();
  return new TextDecoder().decode(bytes);
}
const mtime: [number, number] = [1_700_000_000, 5];
let names = 0;
const fresh = () => `/name-${++names}`;
const key = () => `key-${crypto.randomUUID()}`;

test("frames come whole, however the stream is cut, and what is none is refused", async () => {
  const all = Buffer.concat([
    encodeFrame({ op: "a" }),
    encodeFrame({ op: "b" }, bytesOf("content")),
    encodeFrame({ op: "c" }, new Uint8Array(0)),
  ]);
  for (const size of [1, 3, 7, 1_000]) {
    const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
      all.subarray(i * size, (i + 1) * size),
    );
    const got: unknown[] = [];
    for await (const { header, bytes } of readFrames(streamOf(pieces))) {
      got.push([(header as { op: string }).op, new TextDecoder().decode(bytes)]);
    }
    expect(got).toEqual([
      ["a", ""],
      ["b", "content"],
      ["c", ""],
    ]);
  }
  const refused: [Uint8Array, string][] = [
    [all.subarray(0, all.length - 1), "UNAVAILABLE"],
    [Buffer.from([255, 255, 255, 255]), "INVALID"],
    [Buffer.from([0, 0, 0, 2, 0x7b, 0x7b]), "INVALID"],
    [encodeFrame({ bytes: fileFrameBytesMax + 1 }), "INVALID"],
    [encodeFrame({ bytes: -1 }), "INVALID"],
  ];
  for (const [bytes, code] of refused) {
    const read = async () => {
      for await (const frame of readFrames(streamOf([bytes]))) void frame;
    };
    expect(await codeOf(read())).toBe(code);
  }
});

test("a change that is asked for again under its name is carried out once, and answered the same", async () => {
  const path = fresh();
  const removal = { what: "remove", client: key(), path, recursive: false, missing: false } as const;
  await put([{ op: "file", path, part: "p", mode: 0o644, mtime }, bytesOf("x")]);
  expect(await ask(removal)).toEqual({ path });
  expect(await ask(removal)).toEqual({ path });
  await put([{ op: "file", path, part: "p", mode: 0o644, mtime }, bytesOf("another")]);
  expect(await ask(removal)).toEqual({ path });
  expect(await contentOf(path)).toBe("another");
  expect(await codeOf(ask({ ...removal, client: key() }))).toBe("done");
  expect(await codeOf(ask({ ...removal, client: key() }))).toBe("NOT_FOUND");

  const making = { what: "makeDirectory", client: key(), path, mode: 0o750, parents: false } as const;
  expect([await codeOf(ask(making)), await codeOf(ask(making))]).toEqual(["done", "done"]);
  expect(await codeOf(ask({ ...making, client: key() }))).toBe("CONFLICT");

  const to = fresh();
  const moving = { what: "rename", client: key(), path, to, replace: true } as const;
  expect(await ask(moving)).toEqual({ path: to });
  expect(await codeOf(ask(moving))).toBe("done");
  expect((await resolvePath(fs, to)).mode & 0o777).toBe(0o750);
  expect(await codeOf(resolvePath(fs, path))).toContain("ENOENT");

  const deep = {
    what: "makeDirectory",
    client: key(),
    path: `${to}/a/b/c`,
    mode: 0o755,
    parents: true,
  } as const;
  expect([await codeOf(ask(deep)), await codeOf(ask({ ...deep, client: key() }))]).toEqual(["done", "done"]);
  const all = { what: "remove", client: key(), path: to, recursive: true, missing: false } as const;
  expect([await codeOf(ask(all)), await codeOf(ask(all))]).toEqual(["done", "done"]);
  expect(await codeOf(ask({ ...all, client: key() }))).toBe("NOT_FOUND");
  expect(await codeOf(ask({ ...all, client: key(), missing: true }))).toBe("done");
});

test("frames that come again leave what was made by the first", async () => {
  const dir = fresh();
  const large = new Uint8Array(300_000).fill(0x61);
  const frames: [PutFrame, Uint8Array?][] = [
    [{ op: "directory", path: dir, mode: 0o755 }],
    [{ op: "file", path: `${dir}/small`, part: "s", mode: 0o640, mtime }, bytesOf("small")],
    [{ op: "link", path: `${dir}/link`, part: "l", target: "small" }],
    [{ op: "piece", path: `${dir}/large`, part: "g", offset: 300_000 }, large],
    [{ op: "piece", path: `${dir}/large`, part: "g", offset: 0 }, large],
    [{ op: "finish", path: `${dir}/large`, part: "g", size: 600_000, mode: 0o600, mtime, owner: [3, 4] }],
    [{ op: "attributes", path: dir, mode: 0o700, mtime }],
  ];
  expect(await put(...frames)).toEqual([{ frames: 7 }]);
  const { change } = await resolvePath(fs, `${dir}/small`);
  expect(await put(...frames)).toEqual([{ frames: 7 }]);
  expect((await resolvePath(fs, `${dir}/small`)).change).toBe(change);
  expect(await contentOf(`${dir}/link`)).toBe("small");
  expect(await contentOf(`${dir}/large`)).toBe("a".repeat(600_000));
  expect(await resolvePath(fs, `${dir}/large`)).toMatchObject({
    uid: 3,
    gid: 4,
    mtime: { seconds: mtime[0], nanos: mtime[1] },
  });
  expect((await resolvePath(fs, dir)).mode & 0o777).toBe(0o700);
});

test("a frame that cannot be carried out is told, and the others are", async () => {
  const dir = fresh();
  const file = (path: string): [PutFrame, Uint8Array] => [
    { op: "file", path, part: `${path.replaceAll("/", "-")}.part`, mode: 0o644, mtime },
    bytesOf("text"),
  ];
  const lines = await put(
    [{ op: "directory", path: dir, mode: 0o755 }],
    [{ op: "directory", path: `${dir}/sub`, mode: 0o755 }],
    file(`${dir}/sub`),
    file(`${dir}/nowhere/file`),
    file(`${dir}/good`),
    [{ op: "finish", path: `${dir}/none`, part: "none", size: 5, mode: 0o600, mtime }],
  );
  expect(lines.at(-1)).toEqual({ frames: 6 });
  const failed = lines.flatMap((line) => ("frame" in line ? [[line.frame, line.failure.code]] : []));
  expect(Object.fromEntries(failed)).toEqual({ 2: "INVALID", 3: "NOT_FOUND", 5: "NOT_FOUND" });
  expect(await contentOf(`${dir}/good`)).toBe("text");
  const many = Array.from({ length: putFramesMax + 1 }, (): [PutFrame] => [
    { op: "directory", path: dir, mode: 0o755 },
  ]);
  expect(await codeOf(put(...many))).toBe("TOO_LARGE");
});

test("a part that lacks bytes is no file", async () => {
  const path = fresh();
  const frames: [PutFrame, Uint8Array?][] = [
    [{ op: "piece", path, part: "short", offset: 0 }, bytesOf("half")],
    [{ op: "finish", path, part: "short", size: 8, mode: 0o600, mtime }],
  ];
  const lines = await put(...frames);
  expect(lines[0]).toMatchObject({ frame: 1, failure: { code: "CONFLICT" } });
  expect(await codeOf(resolvePath(fs, path))).toContain("ENOENT");
});

test("contents are given from an offset on, and what cannot be given is told in its place", async () => {
  const path = fresh();
  await put([{ op: "file", path, part: "p", mode: 0o644, mtime }, bytesOf("0123456789")]);
  const told: unknown[] = [];
  const frames = async function* () {
    yield* giveFiles(fs, [path, "/none", path], 4);
  };
  for await (const frame of frames()) {
    for await (const { header, bytes } of readFrames(streamOf([frame]))) {
      const { op, file, failure } = header as { op: string; file: number; failure?: { code: string } };
      told.push([op, file, failure?.code ?? new TextDecoder().decode(bytes)]);
    }
  }
  expect(told).toEqual([
    ["begin", 0, ""],
    ["bytes", 0, "456789"],
    ["end", 0, ""],
    ["failure", 1, "NOT_FOUND"],
    ["begin", 2, ""],
    ["bytes", 2, "456789"],
    ["end", 2, ""],
  ]);
});

test("a directory is listed page by page, with what each entry is", async () => {
  const dir = fresh();
  await put([{ op: "directory", path: dir, mode: 0o755 }]);
  await put(
    ...Array.from({ length: 25 }, (_, i): [PutFrame, Uint8Array] => [
      { op: "file", path: `${dir}/f${i}`, part: `p${i}`, mode: 0o644, mtime },
      bytesOf("x".repeat(i)),
    ]),
    [{ op: "link", path: `${dir}/link`, part: "pl", target: "f1" }],
  );
  const seen: string[] = [];
  for (let after: number | null = 0; after !== null;) {
    const page = (await ask({ what: "list", path: dir, after, limit: 10 })) as {
      entries: { name: string; kind: string; size: number; target?: string }[];
      next: number | null;
    };
    for (const { name, kind, target } of page.entries)
      seen.push(target ? `${name}->${target}` : `${name}:${kind}`);
    after = page.next;
  }
  expect(seen.length).toBe(26);
  expect(seen).toContain("link->f1");
  expect(seen).toContain("f24:file");
  expect(await ask({ what: "usage" })).toMatchObject({ bytesMax: expect.any(Number) as number });
  const { bytesMax, inodesMax } = await fs.usage();
  expect(await ask({ what: "quota", bytesMax: 10 })).toMatchObject({ bytesMax: 10, inodesMax });
  const over = await put([
    { op: "file", path: fresh(), part: "p", mode: 0o644, mtime },
    bytesOf("too much by far"),
  ]);
  expect(over).toMatchObject([{ frame: 0, failure: { code: "EXHAUSTED" } }, { frames: 1 }]);
  expect(await ask({ what: "quota", bytesMax })).toMatchObject({ bytesMax, inodesMax });
  const byOther = fs.as({ uid: 7, gid: 7 }).setQuota({ bytesMax: 1 });
  expect(await byOther.catch((e: Error) => e.message)).toContain("cannot limit");
  expect(await ask({ what: "sync" })).toEqual({ path: "/" });
});

test("a small file that comes is one record of the log, in whatever directory of the same request", async () => {
  const top = fresh();
  const before = (await fs.setAttributes(1, { mode: 0o755 })).change;
  const frames: [PutFrame, Uint8Array?][] = [[{ op: "directory", path: top, mode: 0o755 }]];
  for (let i = 0; i < 5; i++) {
    const directory = `${top}/${i}`;
    frames.push([{ op: "directory", path: directory, mode: 0o755 }]);
    for (const name of "abcdefghijklmnopqrst")
      frames.push([
        { op: "file", path: `${directory}/${name}`, part: "p", mode: 0o644, mtime },
        bytesOf(name),
      ]);
  }
  expect(await put(...frames)).toEqual([{ frames: 106 }]);
  for (let i = 0; i < 5; i++) expect(await contentOf(`${top}/${i}/b`)).toBe("b");
  const after = (await fs.setAttributes(1, { mode: 0o755 })).change;
  // Some more are what the replica and others write meanwhile; four for each would be 400.
  expect(after - before).toBeLessThan(150);
  // Brought again it is there.
  expect(await put(...frames)).toEqual([{ frames: 106 }]);
  expect((await fs.setAttributes(1, { mode: 0o755 })).change - after).toBeLessThan(50);
});

test("where the replicas do not know whole files yet they come as before", async () => {
  const directory = fresh();
  const path = `${directory}/a`;
  const asBefore = Object.create(fs, { put: { value: () => Promise.resolve(null) } }) as VolumeClient;
  for (const method of ["lookup", "create", "setAttributes", "rename", "unlink", "makeDirectory"] as const)
    Object.defineProperty(asBefore, method, { value: fs[method].bind(fs) });
  const stream = streamOf([
    encodeFrame({ op: "directory", path: directory, mode: 0o755 } satisfies PutFrame),
    encodeFrame({ op: "file", path, part: "p", mode: 0o640, mtime } satisfies PutFrame, bytesOf("text")),
  ]);
  const lines: PutLine[] = [];
  for await (const line of putFiles(asBefore, stream)) lines.push(line);
  expect(lines).toEqual([{ frames: 2 }]);
  expect(await contentOf(path)).toBe("text");
  const { mode, mtime: time } = await resolvePath(fs, path);
  expect([mode & 0o7777, time]).toEqual([0o640, { seconds: mtime[0], nanos: mtime[1] }]);
});
