import { expect, test } from "bun:test";
import { remotePlace } from "../../cli/file-place.ts";
import { partName } from "../../cli/copy/part-name.ts";
import { modeText, timeText } from "../../cli/views/files.ts";
import { parseSize } from "../../cli/size.ts";
import { attempted } from "../../cli/copy/attempts.ts";
import { DvsError } from "../../core/errors.ts";
import { dvs } from "./fake-io.ts";

test("a place is of an instance where its first name says so", () => {
  expect(remotePlace("web:/etc/motd")).toEqual({ instance: "web", path: "/etc/motd" });
  expect(remotePlace("web:etc")).toEqual({ instance: "web", path: "/etc" });
  expect(remotePlace("web:")).toEqual({ instance: "web", path: "/" });
  expect(remotePlace("web:/a:b")).toEqual({ instance: "web", path: "/a:b" });
  for (const local of ["file", "./a:b", "/a:b", "dir/a:b", "-"]) expect(remotePlace(local)).toBeNull();
  expect(() => remotePlace("No Name:/x")).toThrow("./No Name:/x");
});

test("a part's name is another for each version, and never too long", () => {
  const name = partName("data.db", ["host", "/data.db", 1]);
  expect(name).toMatch(/^\.data\.db\.[0-9a-f]{8}\.part$/);
  expect(partName("data.db", ["host", "/data.db", 1])).toBe(name);
  expect(partName("data.db", ["host", "/data.db", 2])).not.toBe(name);
  for (const long of ["x".repeat(255), "ü".repeat(127), "😀".repeat(63)]) {
    const part = partName(long, []);
    expect(Buffer.byteLength(part)).toBeLessThanOrEqual(255);
    expect(part.isWellFormed()).toBe(true);
  }
});

test("sizes are read as people write them, and nothing is guessed", () => {
  const sizes = ["0", "4096", "4096B", "1.5GiB", "20 GB", "1TiB", "2kB", "1MiB"].map(parseSize);
  expect(sizes).toEqual([0, 4_096, 4_096, 1.5 * 2 ** 30, 20e9, 2 ** 40, 2_000, 2 ** 20]);
  for (const none of ["", "B", "-1", "1G", "1 gib", "1e9", "1kiB", "99999999TB", "5 %"])
    expect([none, parseSize(none)]).toEqual([none, undefined]);
});

test("modes and times are shown as ls shows them", () => {
  expect(modeText({ kind: "file", mode: 0o644 })).toBe("-rw-r--r--");
  expect(modeText({ kind: "directory", mode: 0o1777 })).toBe("drwxrwxrwt");
  expect(modeText({ kind: "file", mode: 0o6744 })).toBe("-rwsr-Sr--");
  expect(modeText({ kind: "symlink", mode: 0o777 })).toBe("lrwxrwxrwx");
  expect(timeText([0, 5])).toBe("1970-01-01 00:00:00");
});

test("what may help is done again, and nothing else", async () => {
  const { signal } = new AbortController();
  let times = 0;
  const twice = () => {
    if (++times < 3) return Promise.reject(new DvsError("UNAVAILABLE", "no primary"));
    return Promise.resolve(times);
  };
  expect(await attempted(twice, signal)).toBe(3);
  times = 0;
  const refused = attempted(() => {
    times++;
    return Promise.reject(new DvsError("NOT_FOUND", "nothing"));
  }, signal);
  expect(await refused.catch((e: DvsError) => e.code)).toBe("NOT_FOUND");
  expect(times).toBe(1);
});

test("places that cannot be are refused before anything is asked", async () => {
  const refused: [string[], string][] = [
    [["ls", "/etc"], "INSTANCE:/path"],
    [["cp", "a"], "missing where to copy"],
    [["cp", "a", "b"], "either all sources or the last"],
    [["cp", "a:/x", "b:/x"], "either all sources or the last"],
    [["mv", "a:/x", "b:/x"], "another"],
    [["mkdir", "a:/x", "-m", "9"], "octal"],
    [["rm"], "missing PLACES"],
  ];
  for (const [args, words] of refused) {
    const { code, stderr } = await dvs(args);
    expect({ args, code }).toEqual({ args, code: 2 });
    expect(stderr).toContain(words);
  }
});
