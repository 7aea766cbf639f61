/** Operations of a few users with a few names, so that they get in each other's way. */
import { kinds } from "../../../../core/files/attributes.ts";
import type { By, FileOperation } from "../../../../core/files/operations.ts";
import type { Random } from "../../../sim/harness/random.ts";
import type { PosixModel } from "./posix-model.ts";

const users: readonly By[] = [
  [0, 0, []],
  [0, 0, []],
  [100, 100, []],
  [200, 200, [100]],
];
const names = ["a", "b", "c", "ä€", "e.txt"];
const modes = [0o644, 0o600, 0o777, 0o755, 0o000, 0o4755, 0o2755, 0o2666, 0o1777, 0o2777];

export function randomOperation(random: Random, model: PosixModel): FileOperation {
  const by = random.pick(users);
  const inos = [...model.inodes.keys()];
  const ino = random.pick(inos);
  const files = inos.filter((each) => (model.inodes.get(each)!.mode & 0o170000) === kinds.file);
  const file = files.length > 0 && random.chance(0.9) ? random.pick(files) : ino;
  const directories = inos.filter((each) => model.isDirectory(model.inodes.get(each)!));
  const directory = () => (random.chance(0.03) ? ino : random.pick(directories));
  const parent = directory();
  const name = random.pick(names);
  const inoOf = (at: number, called: string) => model.inodes.get(at)?.entries.get(called) ?? 0;
  const kind = random.integer(0, 99);
  if (kind < 22) {
    const what = random.pick([kinds.file, kinds.file, kinds.directory, kinds.symlink, kinds.fifo]);
    const target = what === kinds.symlink ? "to/ü" : "";
    const open = random.integer(0, what === kinds.file ? 1 : 0);
    return [1, by, parent, name, what | random.pick(modes), target, open, random.integer(0, 1)];
  }
  if (kind < 27) return [2, by, ino, parent, name];
  if (kind < 34) return [3, by, parent, name, Math.max(1, inoOf(parent, name))];
  if (kind < 40) return [4, by, parent, name, Math.max(1, inoOf(parent, name))];
  if (kind < 54) {
    const to = directory();
    const toName = random.pick(names);
    const how = random.pick([0, 0, 0, 1, 2]);
    return [5, by, parent, name, to, toName, how, Math.max(1, inoOf(parent, name)), inoOf(to, toName)];
  }
  if (kind < 68) {
    const change = random.integer(0, 5);
    const mode = change === 0 ? random.pick(modes) : -1;
    const uid = change === 1 ? random.pick([0, 100, 200]) : -1;
    const gid = change <= 2 && change > 0 ? random.pick([0, 100, 200]) : -1;
    const size = change >= 3 ? randomSize(random) : -1;
    return [6, by, size >= 0 ? file : ino, mode, uid, gid, size, null, null, random.integer(0, 1)];
  }
  if (kind < 74) {
    const bytes = new Uint8Array(random.pick([0, 1, 4_096, random.integer(0, 30_000)])).fill(kind);
    const [uid, gid] = [random.pick([-1, -1, 100]), random.pick([-1, -1, 0, 200])];
    return [20, by, parent, name, inoOf(parent, name), random.pick(modes), uid, gid, [7, 8], bytes];
  }
  if (kind < 94) {
    const bytes = new Uint8Array(random.integer(1, random.pick([10, 5_000, 30_000])));
    bytes.fill(random.integer(1, 255));
    bytes[0] = random.integer(0, 255);
    const offset = random.chance(0.4) ? -1 : randomSize(random);
    return [7, by, file, offset, bytes];
  }
  if (kind < 97) return [8, ino];
  return [9, random.sample(inos, Math.min(3, inos.length))];
}

function randomSize(random: Random): number {
  return random.pick([0, 1, 4_095, 4_096, 4_097, random.integer(0, 100), random.integer(0, 60_000)]);
}
