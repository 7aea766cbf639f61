/**
 * Bits that a simulated drive gives back wrongly. They are turned only where the log itself can tell that a record was
 * durable: what nobody vouches for yet looks like a torn end, and is cut as one.
 */
import { headBytes, segmentSeed } from "../../../core/log/frame.ts";
import type { LogFile } from "../../../core/log/log-files.ts";
import { beginOf, walk } from "../../../core/log/scan.ts";
import { firstIndexOf } from "../../../core/log/segment.ts";
import { call, run, type Steps } from "../../../core/log/steps.ts";
import { DiskFiles } from "../../core/log/disk-files.ts";
import type { DiskFile } from "../harness/disk.ts";
import type { SimNode } from "./sim-node.ts";

interface Turned {
  file: DiskFile;
  offset: number;
  bits: number;
  /** What the disk gives back since. */
  wrong: number;
  /** The last record that is lost by it: reading goes on at a mark only. */
  index: number;
}

/** Frames of one segment, as far as they are vouched for. */
interface Vouched {
  file: DiskFile;
  records: { index: number; end: number }[];
  marks: { position: number; nextIndex: number }[];
}

export class Rot {
  readonly #node: SimNode;
  #turned: Turned[] = [];

  constructor(node: SimNode) {
    this.#node = node;
  }

  /** Turns a bit of the log. False: there is nothing of which it would be noticed. */
  turn(): boolean {
    const { random } = this.#node.world.sim;
    const segments = vouchedFor(this.#node).filter(({ records }) => records.length > 0);
    if (segments.length === 0) return false;
    const { file, records, marks } = random.pick(segments);
    const offset = random.integer(0, records.at(-1)!.end - 1);
    const index =
      (marks.find(({ position }) => position > offset)?.nextIndex ?? records.at(-1)!.index + 1) - 1;
    const bits = 1 << random.integer(0, 7);
    file.flip(offset, bits);
    this.#turned.push({ file, offset, bits, index, wrong: file.read(offset, 1)[0]! });
    this.#node.world.sim.log(`${this.#node.host.id} damages its records up to ${index}`);
    return true;
  }

  /** Something is missing to this replica, or would be after its next start. */
  get matters(): boolean {
    const { snapshot } = this.#node;
    if (snapshot?.isDamaged) return true;
    if (this.#turned.length === 0) return false;
    const { disk } = this.#node.drive;
    const files = new Set(disk.names().map((name) => disk.file(name)));
    this.#turned = this.#turned.filter(
      ({ file, offset, wrong }) => files.has(file) && file.read(offset, 1)[0] === wrong,
    );
    return this.#turned.some(({ index }) => index > (snapshot?.state.index ?? 0));
  }

  /** It was the last good copy: that is more than anybody survives. */
  takeBack(): void {
    if (!this.matters) return;
    this.#node.world.sim.count("damage:taken back");
    for (const { file, offset, bits } of this.#turned) file.flip(offset, bits);
    this.#turned = [];
    if (this.#node.snapshot) this.#node.snapshot.isDamaged = false;
  }
}

/** At once: this is no program of the simulated machine. */
function vouchedFor({ drive, disk }: SimNode): Vouched[] {
  const files = new DiskFiles(drive.disk);
  const found: Vouched[] = [];
  const names = files.disk.names().filter((name) => firstIndexOf(name) !== null);
  for (const [i, name] of names.entries()) {
    const file = files.disk.file(name)!;
    // What is on its way to the platter may put it right.
    if (!file.isSynced) continue;
    const isLast = i === names.length - 1;
    run(framesOf(files, name, disk), (error, frames) => {
      if (error) throw error;
      const durable = isLast ? frames!.durable : Infinity;
      const { records, marks } = frames!;
      found.push({ file, records: records.filter(({ index }) => index <= durable), marks });
    });
  }
  return found;
}

function* framesOf(
  files: DiskFiles,
  name: string,
  disk: string,
): Steps<{ durable: number } & Pick<Vouched, "records" | "marks">> {
  const first = firstIndexOf(name)!;
  const file = yield* call<LogFile>((done) => files.open(name, "read", done));
  const size = yield* call<number>((done) => file.size(done));
  const records: Vouched["records"] = [];
  const marks: Vouched["marks"] = [];
  let durable = 0;
  const visitor = {
    record({ index, bytes }: { index: number; bytes: Uint8Array }, position: number): void {
      records.push({ index, end: position + headBytes + bytes.length });
    },
    mark(mark: { durable: number; position: number; nextIndex: number }): void {
      marks.push(mark);
      durable = Math.max(durable, mark.durable);
    },
  };
  yield* walk(file, beginOf(segmentSeed(disk, first), first), size, visitor);
  return { durable, records, marks };
}
