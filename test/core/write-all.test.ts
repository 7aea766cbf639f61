import { expect, test } from "bun:test";
import { writeAll } from "../../core/files.ts";

/** A file that takes so much at a time. */
function slow(takes: number[]) {
  const got: number[] = [];
  return {
    got,
    write: (bytes: Uint8Array, offset: number, length: number) => {
      const bytesWritten = Math.min(length, takes.shift() ?? length);
      got.push(...bytes.subarray(offset, offset + bytesWritten));
      return Promise.resolve({ bytesWritten });
    },
  };
}

test("what one write does not take is written by the next, as on a disk that is nearly full", async () => {
  const file = slow([2, 1]);
  await writeAll(file, new Uint8Array([1, 2, 3, 4, 5]));
  expect(file.got).toEqual([1, 2, 3, 4, 5]);
});

test("a file that takes nothing is no end", () => {
  expect(writeAll(slow([1, 0]), new Uint8Array(3))).rejects.toThrow("nothing more is taken");
});
