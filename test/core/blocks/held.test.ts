/** A disk that is slower than what comes: memory stays bounded, and all follows when it has caught up. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { heldBytesMax } from "../../../core/state/limits.ts";
import { gate } from "./gate.ts";
import { operate, pieceBytes, piecesOf, readAll, Replicas, until } from "./replicas.ts";

let replicas: Replicas;
beforeEach(() => {
  replicas = new Replicas(4_000_000, 2);
});
afterEach(() => replicas.end());

test("applying stops while too much waits for the files, and goes on; so on a backup, whose primary does not wait", async () => {
  const primary = await replicas.start("a");
  await until(() => primary.host.machine.role === "primary");
  const { wrap, open } = gate();
  const backup = await replicas.start("b", undefined, wrap);
  await until(() => replicas.store.configuration!.inSync.length === 2);
  const block = pieceBytes(500_000, 1);
  const count = 80;
  for (let i = 0; i < count; i++) await operate(primary, { append: block });
  expect(piecesOf(primary)).toHaveLength(count);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const held = piecesOf(backup).length;
  expect(held * block.length).toBeLessThan(heldBytesMax + 3_000_000);
  expect(held).toBeGreaterThan(10);
  // Others do not hear of it.
  expect(replicas.store.configuration!.inSync).toHaveLength(2);
  open();
  await until(() => piecesOf(backup).length === count);
  for (const bytes of await readAll(backup)) expect(bytes).toEqual(block);
  expect(replicas.complaints).toEqual([]);
}, 20_000);
