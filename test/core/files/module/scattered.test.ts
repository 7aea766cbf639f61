/** Files of very many small extents, cut and grown again and again, against an array of bytes. */
import { expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import type { FileOperation, FileResult } from "../../../../core/files/operations.ts";
import { Random } from "../../../sim/harness/random.ts";
import { superuser, TestVolume } from "./test-volume.ts";

for (const seed of [1, 2, 3]) {
  test(`a file of many extents is always the bytes that it should be (seed ${seed})`, async () => {
    const random = new Random(seed);
    const volume = new TestVolume();
    const made = volume.operate([1, superuser, 1, "a", kinds.file | 0o644, "", 0, 1]);
    const [ino] = made[1] as AttributesRow;
    let model = new Uint8Array(0);
    const until = (operation: FileOperation): void => {
      for (;;) {
        const [error] = volume.operate(operation);
        if (error === "") return;
        expect(error).toBe("changed");
      }
    };
    const resize = (size: number): void => {
      const resized = new Uint8Array(size);
      resized.set(model.subarray(0, size));
      model = resized;
    };
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 300; i++) {
        const offset = random.integer(0, 150_000);
        const length = random.chance(0.02) ? random.integer(1_000, 20_000) : random.integer(1, 40);
        const bytes = new Uint8Array(length).fill(random.integer(1, 255));
        until([7, superuser, ino, offset, bytes]);
        if (offset + bytes.length > model.length) resize(offset + bytes.length);
        model.set(bytes, offset);
      }
      // To the half, where there is much before and behind, and at once to the full length.
      const sizes = random.chance(0.5) ? [75_000, random.integer(75_000, 160_000), 160_000] : [];
      const others = [random.integer(0, 160_000), random.integer(0, 20_000), 0];
      for (const size of [...sizes, ...random.sample(others, random.integer(0, 2))]) {
        until([6, superuser, ino, -1, -1, -1, size, null, null, 0]);
        resize(size);
        if (random.chance(0.2)) volume.tidy();
      }
      const [, bytes] = (await volume.module.read(["read", ino, 0, 200_000])) as FileResult;
      expect(Buffer.compare(bytes as Uint8Array, model)).toBe(0);
    }
    volume.tidy();
    const { real } = volume.db.prepare("SELECT sum(length) AS real FROM files_extent").get() as {
      real: number;
    };
    expect((volume.ask(["attributes", ino]) as AttributesRow)[6]).toBe(real ?? 0);
    const [, used] = volume.module.read(["usage"]) as FileResult;
    expect(used).toBe(real ?? 0);
    const { live } = volume.db.prepare("SELECT live FROM files_counter").get() as { live: number };
    expect(live).toBe(real ?? 0);
    volume.close();
  }, 60_000);
}
