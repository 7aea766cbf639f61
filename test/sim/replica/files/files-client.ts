/**
 * A client of files: it makes, renames, links, cuts, writes, locks and removes what it knows of, with a few names in a
 * few directories, so that clients get in each other's way; and it reads at every replica.
 */
import { type AttributesRow, isDirectory, kindMask, kinds } from "../../../../core/files/attributes.ts";
import { rootIno } from "../../../../core/files/file-system.ts";
import { encodeOperation } from "../../../../core/files/module/codec.ts";
import type { By, FileOperation, FileQuery, FileResult } from "../../../../core/files/operations.ts";
import type { Host } from "../../harness/host.ts";
import { AskingClient, type AskingHabits, type Wanted } from "../asking-client.ts";
import type { Answer } from "../load.ts";
import type { ReplicaWorld } from "../replica-world.ts";
import type { FilesCall } from "./files-history.ts";
import type { FilesLoad } from "./files-load.ts";
import { operationNames } from "./operation-names.ts";

export interface FilesHabits extends AskingHabits {
  reads: number;
  names: number;
  /** Share of what changes something that is about locks. */
  locks: number;
  writeBytes: number;
}

interface Asked {
  call: FilesCall;
  operation: FileOperation | null;
}

const superuser: By = [0, 0, []];
const directoriesMax = 4;
const [none, shared, exclusive] = [0, 1, 2];
const [flock, posix] = [0, 1];
const posixBytes = 32;
const knownMax = 24;

export class FilesClient extends AskingClient<Asked> {
  readonly #load: FilesLoad;
  readonly #habits: FilesHabits;
  /** What it has heard of: names, directories and other files. */
  readonly #names = new Map<string, number>();
  #directories = [rootIno];
  #files: number[] = [];
  #links: number[] = [];
  /** Locks that it has, or waits for. */
  #locks: { ino: number; type: number; owner: string; ticket: number }[] = [];
  #tickets = 0;
  #writes = 0;

  constructor(load: FilesLoad, world: ReplicaWorld, host: Host, habits: FilesHabits) {
    super(world, host, habits);
    this.#load = load;
    this.#habits = habits;
  }

  forget(): void {
    this.#names.clear();
    this.#directories = [rootIno];
    this.#files = [];
    this.#links = [];
    this.#locks = [];
  }

  protected next(nextSequence: number): Wanted<Asked> {
    const { random } = this.world.sim;
    const timeoutMs = this.#habits.timeoutMs * random.between(0.5, 1.5);
    const isRead = random.chance(this.#habits.reads);
    const wanted = isRead ? this.#query() : this.#operation();
    if (typeof wanted[0] === "string") {
      const call = this.#load.begin(this.name, wanted, 0, wanted.join(" "));
      return { call: { call, operation: null }, operation: null, query: wanted, timeoutMs };
    }
    const call = this.#load.begin(this.name, null, nextSequence, tellOperation(wanted));
    return { call: { call, operation: wanted }, operation: encodeOperation(wanted), query: null, timeoutMs };
  }

  protected about({ call }: Asked): string {
    return call.query ? "read" : "write";
  }

  protected tell({ call }: Asked, sequence: number): string {
    return sequence > 0 ? `${sequence} ${call.what}` : call.what;
  }

  protected refused({ call }: Asked): void {
    this.#load.refuse(call);
  }

  protected unknown(): void {
    this.world.sim.count("client:unknown outcome");
  }

  protected answered(
    { call, operation }: Asked,
    answer: Answer & { outcome: "ok" },
    at: string,
    tell: string,
  ): void {
    const { sim } = this.world;
    const result = answer.result as FileResult;
    sim.log(`${this.name} ${tell} at ${at}: ${result[0] || "done"}`);
    const name = operation ? operationNames[operation[0]] : call.query![0];
    sim.count(`${operation ? "operation" : "query"}:${name}${result[0] === "" ? "" : ", refused"}`);
    if (result[0] === "changed") sim.count("operation:changed meanwhile");
    this.#load.end(call, at, result, answer.index);
    if (operation) this.#learnOf(operation, result);
    else this.#learn(call.query!, result);
  }

  #name(): string {
    return `f${this.world.sim.random.integer(1, this.#habits.names)}`;
  }

  #query(): FileQuery {
    const { random } = this.world.sim;
    const parent = random.pick(this.#directories);
    const name = this.#name();
    const known = random.pick([...this.#files, ...this.#directories]);
    const file = this.#files.length > 0 ? random.pick(this.#files) : known;
    const dice = random.float();
    if (dice < 0.22) return ["entries", parent, 0, 1_000, random.integer(0, 1)];
    if (dice < 0.45) return ["lookup", null, parent, name];
    if (dice < 0.68) return ["read", file, 0, 1_000_000];
    if (dice < 0.8) return ["attributes", known];
    if (dice < 0.87) return ["path", superuser, `/${this.#name()}/${name}`, 0];
    if (dice < 0.94) return ["lockedBy", this.#hotFile(), flock, exclusive, 0, -1, "nobody", this.name];
    return ["link", this.#links.length > 0 ? random.pick(this.#links) : known];
  }

  #operation(): FileOperation | FileQuery {
    const { random } = this.world.sim;
    if (random.chance(this.#habits.locks)) return this.#lockOperation();
    const parent = random.pick(this.#directories);
    const name = this.#name();
    const ino = this.#names.get(keyOf(parent, name));
    const file = this.#files.length > 0 ? random.pick(this.#files) : null;
    const dice = random.float();
    if (dice < 0.2 || file === null) return this.#create(parent, name);
    if (dice < 0.45) {
      const bytes = new Uint8Array(random.integer(1, random.pick([20, 3_000, this.#habits.writeBytes])));
      // What is written is found nowhere else.
      bytes.fill(++this.#writes % 251);
      new TextEncoder().encodeInto(`${this.name}-${this.#writes}|`, bytes);
      return [7, superuser, file, random.chance(0.4) ? -1 : random.integer(0, 12_000), bytes];
    }
    if (dice < 0.55) {
      const size = random.pick([0, 1, 4_096, random.integer(0, 12_000)]);
      return [6, superuser, file, -1, -1, -1, size, null, null, 0];
    }
    if (dice < 0.58)
      return [6, superuser, file, random.pick([0o600, 0o644, 0o755]), -1, -1, -1, null, null, 0];
    if (dice < 0.64) return [2, superuser, file, parent, name];
    if (dice < 0.68) return [8, file];
    if (dice < 0.72) return [9, random.sample(this.#files, Math.min(2, this.#files.length))];
    // What a name has is looked up first.
    if (ino === undefined) return ["lookup", null, parent, name];
    if (dice < 0.9) {
      const to = random.pick(this.#directories);
      const toName = this.#name();
      const replaced = this.#names.get(keyOf(to, toName)) ?? 0;
      return [5, superuser, parent, name, to, toName, random.pick([0, 0, 0, 1, 2]), ino, replaced];
    }
    return this.#directories.includes(ino)
      ? [4, superuser, parent, name, ino]
      : [3, superuser, parent, name, ino];
  }

  #create(parent: number, name: string): FileOperation {
    const { random } = this.world.sim;
    const mayBeDirectory = this.#directories.length < directoriesMax;
    const kind = random.pick([
      kinds.file,
      kinds.file,
      kinds.file,
      kinds.symlink,
      mayBeDirectory ? kinds.directory : kinds.file,
    ]);
    const target = kind === kinds.symlink ? `to-${this.name}-${++this.#writes}` : "";
    const open = kind === kinds.file ? random.integer(0, 1) : 0;
    return [1, superuser, parent, name, kind | 0o644, target, open, random.integer(0, 1)];
  }

  /** All lock the same few files. */
  #hotFile(): number {
    const { random } = this.world.sim;
    const hot = [...this.#files].sort((a, b) => a - b).slice(0, 2);
    return hot.length > 0 ? random.pick(hot) : rootIno;
  }

  #lockOperation(): FileOperation {
    const { random } = this.world.sim;
    const held = this.#locks.length > 0 && random.chance(0.6) ? random.pick(this.#locks) : null;
    if (held) {
      const { ino, type, owner, ticket } = held;
      // Whoever waits asks again, or has enough of it.
      if (ticket > 0 && random.chance(0.5)) return [10, ino, type, exclusive, 0, -1, owner, 7, ticket];
      if (ticket > 0 && random.chance(0.5)) return [11, ino, ticket];
      return [10, ino, type, none, 0, -1, owner, 7, 0];
    }
    const ino = this.#hotFile();
    const owner = `o${random.integer(1, 2)}`;
    if (random.chance(0.6)) {
      const waits = random.chance(0.5);
      return [
        10,
        ino,
        flock,
        waits ? exclusive : random.integer(shared, exclusive),
        0,
        -1,
        owner,
        7,
        waits ? ++this.#tickets : 0,
      ];
    }
    const start = random.integer(0, posixBytes - 1);
    const end = random.chance(0.2) ? -1 : random.integer(start + 1, posixBytes);
    return [10, ino, posix, random.integer(none, exclusive), start, end, owner, 7, 0];
  }

  #learnOf(operation: FileOperation, result: FileResult): void {
    const isDone = result[0] === "";
    switch (operation[0]) {
      case 1:
        if (isDone) this.#know(operation[2], operation[3], result[1] as AttributesRow);
        else this.#names.delete(keyOf(operation[2], operation[3]));
        return;
      case 2:
        this.#names.delete(keyOf(operation[3], operation[4]));
        return;
      case 3:
      case 4:
        this.#names.delete(keyOf(operation[2], operation[3]));
        if (operation[0] === 4 && isDone) this.#forgetDirectory(operation[4]);
        return;
      case 5:
        this.#names.delete(keyOf(operation[2], operation[3]));
        this.#names.delete(keyOf(operation[4], operation[5]));
        return;
      case 10: {
        const [, ino, type, kind, , , owner, , ticket] = operation;
        this.#locks = this.#locks.filter(
          (each) => each.ino !== ino || each.type !== type || each.owner !== owner,
        );
        if (isDone && kind !== none)
          this.#locks.push({ ino, type, owner, ticket: result[1] === 0 ? ticket : 0 });
        return;
      }
      default:
        if (result[0] === "ESTALE") this.#forgetStale(operation);
    }
  }

  #learn(query: FileQuery, result: FileResult): void {
    if (query[0] === "lookup") {
      if (result[0] === "") this.#know(query[2], query[3], result[1] as AttributesRow);
      else this.#names.delete(keyOf(query[2], query[3]));
    } else if (query[0] === "entries" && result[0] === "") {
      for (const [name, ino, kind] of result[1] as [string, number, number][])
        this.#knowOf(query[1], name, ino, kind);
    } else if (result[0] === "ESTALE") this.#forgetIno(query[1] as number);
  }

  #know(parent: number, name: string, row: AttributesRow): void {
    this.#knowOf(parent, name, row[0], row[1] & kindMask);
  }

  #knowOf(parent: number, name: string, ino: number, kind: number): void {
    this.#names.set(keyOf(parent, name), ino);
    if (isDirectory({ mode: kind })) {
      if (!this.#directories.includes(ino)) this.#directories.push(ino);
      if (this.#directories.length > directoriesMax) this.#directories.splice(1, 1);
    } else if (kind === kinds.file && !this.#files.includes(ino)) {
      this.#files.push(ino);
      if (this.#files.length > knownMax) this.#files.shift();
    } else if (kind === kinds.symlink && !this.#links.includes(ino)) {
      this.#links.push(ino);
      if (this.#links.length > knownMax) this.#links.shift();
    }
  }

  #forgetStale(operation: FileOperation): void {
    if (operation[0] === 6 || operation[0] === 7) this.#forgetIno(operation[2]);
    else if (operation[0] === 8) this.#forgetIno(operation[1]);
  }

  #forgetIno(ino: number): void {
    this.#files = this.#files.filter((each) => each !== ino);
    this.#links = this.#links.filter((each) => each !== ino);
    this.#forgetDirectory(ino);
  }

  #forgetDirectory(ino: number): void {
    if (ino !== rootIno) this.#directories = this.#directories.filter((each) => each !== ino);
  }
}

function keyOf(parent: number, name: string): string {
  return `${parent}/${name}`;
}

function tellOperation(operation: FileOperation): string {
  const fields = operation.slice(1).filter((field) => !Array.isArray(field) || operation[0] === 9);
  const told = fields.map((field) => (field instanceof Uint8Array ? `${field.length} bytes` : String(field)));
  return [operationNames[operation[0]], ...told].join(" ");
}
