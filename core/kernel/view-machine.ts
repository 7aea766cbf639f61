/**
 * The View as a machine: records in, one after another, the same state on each kernel. See view.ts for what each
 * record means; this file says when one fits. Pure machine.
 *
 * Who holds an endpoint: the kernel in `places`, where endpoints are that have moved or have backups; else the kernel
 * that leases its slot. Both are functions of the records, so that no two kernels ever disagree on it at one index.
 */
import { endpointNameCharsMax, goneIncarnationsKept } from "../limits.ts";
import { type Endpoint, formatEndpoint, isEndpoint, slotsMax } from "./endpoint.ts";
import { type SlotRange, SlotRanges } from "./slot-ranges.ts";
import type { Relocation, ViewChange } from "./view-change.ts";
import type { KernelId, KernelRecord, Member, OrderedRecord } from "./view.ts";

const backupsMax = 8;

/** An endpoint that is not simply where its slot is. */
export interface Place {
  holder: KernelId;
  /** Number of its last move that began. */
  g: number;
  /** Index of the record that gave it to the holder; 0: the holder leases its slot. */
  since: number;
  /** Where it is moving to; 0: it is at rest. */
  to: KernelId;
  backups: KernelId[];
}

export interface ViewSnapshot {
  index: number;
  members: Member[];
  gone: string[];
  grantor: { kernel: KernelId; epoch: number };
  slots: SlotRange[];
  names: [string, Endpoint][];
  places: [Endpoint, Place][];
}

export class ViewMachine {
  /** Of the last record applied. */
  index = 0;
  /** Index of the last record that removed a kernel, or a later one: snapshots do not have it. */
  removedAt = 0;
  readonly members = new Map<KernelId, Member>();
  /** `kernel` 0: none. The epoch never falls. */
  grantor = { kernel: 0, epoch: 0 };
  readonly names = new Map<string, Endpoint>();
  readonly places = new Map<Endpoint, Place>();
  #slots = new SlotRanges();
  /** Incarnations that have been removed, oldest first. */
  readonly #gone = new Set<string>();

  /** Applies the next record; one that was applied before is ignored. */
  apply({ index, record }: OrderedRecord): ViewChange {
    if (index <= this.index) return refused(`record ${index} was applied before`);
    this.index = index;
    switch (record.type) {
      case "join":
        return this.#join(index, record.member);
      case "remove":
        if (record.reason === "lease" && record.epoch !== this.grantor.epoch) {
          return refused(`epoch ${record.epoch} is over, it is ${this.grantor.epoch}`);
        }
        return this.#remove(record.kernel);
      case "grantor":
        return this.#grantor(record.kernel, record.epoch);
      case "slots":
        return this.#lease(record.kernel, record.count);
      case "name":
        return this.#name(record);
      case "unname":
        return this.#unname(record.name, record.endpoint);
      case "moving":
        return this.#moving(record);
      case "moved":
        return this.#moved(record.endpoint, record.g);
      case "aborted":
        return this.#aborted(record.endpoint, record.g);
      case "backup":
        return this.#backup(record.endpoint, record.kernel);
      case "ended":
        return this.#ended(record.endpoint, record.kernel);
    }
  }

  /** The kernel that holds the endpoint, bound or not; 0 when none can. */
  holderOf(endpoint: Endpoint): KernelId {
    return this.places.get(endpoint)?.holder ?? this.#slots.lessee(endpoint);
  }

  /** Number of the endpoint's last move that has begun. */
  moveOf(endpoint: Endpoint): number {
    return this.places.get(endpoint)?.g ?? 0;
  }

  /** Index of the record that brought the endpoint to its holder; 0: it has been there from the start. */
  placedAt(endpoint: Endpoint): number {
    return this.places.size === 0 ? 0 : (this.places.get(endpoint)?.since ?? 0);
  }

  /** Whether somebody may have given out the endpoint: then nobody who asks for it will ever find another there. */
  mayHaveBeen(endpoint: Endpoint): boolean {
    return this.#slots.mayHaveBeen(endpoint);
  }

  /** True for a kernel that has been removed. Numbers are never used again. */
  hasGone(kernel: KernelId): boolean {
    return kernel <= this.index && !this.members.has(kernel);
  }

  memberOf(incarnation: string): Member | undefined {
    for (const member of this.members.values()) if (member.incarnation === incarnation) return member;
    return undefined;
  }

  /** Those that were removed, oldest first; the last goneIncarnationsKept. */
  get goneIncarnations(): readonly string[] {
    return [...this.#gone];
  }

  hasGoneIncarnation(incarnation: string): boolean {
    return this.#gone.has(incarnation);
  }

  snapshot(): ViewSnapshot {
    return {
      index: this.index,
      members: [...this.members.values()].map((member) => ({ ...member })),
      gone: [...this.#gone],
      grantor: { ...this.grantor },
      slots: this.#slots.toJSON(),
      names: [...this.names],
      places: [...this.places].map(([endpoint, place]) => [
        endpoint,
        { ...place, backups: [...place.backups] },
      ]),
    };
  }

  static from(snapshot: ViewSnapshot): ViewMachine {
    const view = new ViewMachine();
    view.restore(snapshot);
    return view;
  }

  /** In the place of all records up to the snapshot's index; before any record was applied. */
  restore(snapshot: ViewSnapshot): void {
    this.index = snapshot.index;
    this.removedAt = snapshot.index;
    this.grantor = { ...snapshot.grantor };
    this.#slots = SlotRanges.from(snapshot.slots);
    for (const member of snapshot.members) this.members.set(member.kernel, { ...member });
    for (const incarnation of snapshot.gone) this.#gone.add(incarnation);
    for (const [name, endpoint] of snapshot.names) this.names.set(name, endpoint);
    for (const [endpoint, place] of snapshot.places) {
      this.places.set(endpoint, { ...place, backups: [...place.backups] });
    }
  }

  #join(index: number, joining: Omit<Member, "kernel">): ViewChange {
    const { incarnation } = joining;
    if (this.#gone.has(incarnation) || this.memberOf(incarnation)) {
      return refused(`incarnation ${incarnation} has been in the view before`);
    }
    const member: Member = { ...joining, kernel: index };
    this.members.set(index, member);
    return { type: "joined", member };
  }

  #remove(kernel: KernelId): ViewChange {
    const member = this.members.get(kernel);
    if (!member) return refused(`kernel ${kernel} is not in the view`);
    const theirs = [...this.names].filter(([, endpoint]) => this.holderOf(endpoint) === kernel);
    this.members.delete(kernel);
    this.removedAt = this.index;
    this.#gone.add(member.incarnation);
    if (this.#gone.size > goneIncarnationsKept) this.#gone.delete(this.#gone.values().next().value!);
    if (this.grantor.kernel === kernel) this.grantor = { kernel: 0, epoch: this.grantor.epoch };
    this.#slots.release(kernel);
    const aborted: Relocation[] = [];
    const promoted: Relocation[] = [];
    for (const [endpoint, place] of this.places) {
      place.backups = place.backups.filter((backup) => backup !== kernel);
      if (place.to !== 0 && (place.holder === kernel || place.to === kernel)) {
        aborted.push({ endpoint, g: place.g, since: place.since, from: place.holder, to: place.to });
        place.to = 0;
      }
      if (place.holder !== kernel) continue;
      const relocation = this.#promote(endpoint, place);
      if (relocation) promoted.push(relocation);
    }
    for (const [name, endpoint] of theirs) {
      if (!promoted.some((relocation) => relocation.endpoint === endpoint)) this.names.delete(name);
    }
    return { type: "removed", kernel, aborted, promoted };
  }

  #grantor(kernel: KernelId, epoch: number): ViewChange {
    if (!this.members.has(kernel)) return refused(`kernel ${kernel} is not in the view`);
    if (epoch !== this.grantor.epoch + 1)
      return refused(`epoch ${epoch} does not follow ${this.grantor.epoch}`);
    this.grantor = { kernel, epoch };
    return { type: "grantor", kernel, epoch };
  }

  #lease(kernel: KernelId, count: number): ViewChange {
    if (!this.members.has(kernel)) return refused(`kernel ${kernel} is not in the view`);
    if (!Number.isSafeInteger(count) || count < 1 || count > slotsMax) return refused(`${count} slots`);
    const range = this.#slots.lease(kernel, count);
    return range ? { type: "slots", kernel, range } : refused(`all ${slotsMax} slots are leased`);
  }

  #name({ name, endpoint, kernel }: Extract<KernelRecord, { type: "name" }>): ViewChange {
    if (name.length === 0 || name.length > endpointNameCharsMax) return refused("a name without a length");
    if (!this.#isHeldBy(endpoint, kernel)) return refused(notHeld(endpoint, kernel));
    if (this.names.has(name)) return refused(`the name ${name} is taken`);
    this.names.set(name, endpoint);
    return { type: "named", name, endpoint };
  }

  #unname(name: string, endpoint: Endpoint): ViewChange {
    if (this.names.get(name) !== endpoint) return refused(`${formatEndpoint(endpoint)} has no name ${name}`);
    this.names.delete(name);
    return { type: "unnamed", name, endpoint };
  }

  #moving({ endpoint, g, from, to }: Extract<KernelRecord, { type: "moving" }>): ViewChange {
    if (!this.#isHeldBy(endpoint, from)) return refused(notHeld(endpoint, from));
    if (from === to || !this.members.has(to)) return refused(`kernel ${to} cannot take it`);
    const place = this.places.get(endpoint) ?? { holder: from, g: 0, since: 0, to: 0, backups: [] };
    if (place.to !== 0) return refused(`${formatEndpoint(endpoint)} is moving`);
    if (g !== place.g + 1) return refused(`move ${g} does not follow ${place.g}`);
    place.g = g;
    place.to = to;
    this.places.set(endpoint, place);
    return { type: "moving", endpoint, g, since: place.since, from, to };
  }

  #moved(endpoint: Endpoint, g: number): ViewChange {
    const place = this.places.get(endpoint);
    if (!place || place.to === 0 || place.g !== g) return refused(notMoving(endpoint, g));
    const { holder: from, to } = place;
    place.holder = to;
    place.since = this.index;
    place.to = 0;
    place.backups = place.backups.filter((backup) => backup !== to);
    return { type: "moved", endpoint, g, since: place.since, from, to };
  }

  #aborted(endpoint: Endpoint, g: number): ViewChange {
    const place = this.places.get(endpoint);
    if (!place || place.to === 0 || place.g !== g) return refused(notMoving(endpoint, g));
    const { holder: from, to } = place;
    place.to = 0;
    return { type: "aborted", endpoint, g, since: place.since, from, to };
  }

  #backup(endpoint: Endpoint, kernel: KernelId): ViewChange {
    const holder = this.holderOf(endpoint);
    if (!this.members.has(kernel) || !this.members.has(holder)) return refused("no such kernel or holder");
    if (holder === kernel) return refused(`kernel ${kernel} holds ${formatEndpoint(endpoint)} itself`);
    const place = this.places.get(endpoint) ?? { holder, g: 0, since: 0, to: 0, backups: [] };
    if (place.backups.includes(kernel)) return refused(`kernel ${kernel} is a backup already`);
    if (place.backups.length >= backupsMax) return refused(`${backupsMax} backups are the most`);
    place.backups.push(kernel);
    this.places.set(endpoint, place);
    return { type: "backup", endpoint, kernel };
  }

  #ended(endpoint: Endpoint, kernel: KernelId): ViewChange {
    const place = this.places.get(endpoint);
    if (!place) return refused(`${formatEndpoint(endpoint)} is where its slot is`);
    if (place.backups.includes(kernel)) {
      place.backups = place.backups.filter((backup) => backup !== kernel);
      return { type: "ended", endpoint, kernel, promoted: null, left: null };
    }
    if (place.holder !== kernel || place.to !== 0) return refused(notHeld(endpoint, kernel));
    const promoted = this.#promote(endpoint, place);
    if (promoted) return { type: "ended", endpoint, kernel, promoted, left: null };
    for (const [name, named] of this.names) if (named === endpoint) this.names.delete(name);
    const left = { endpoint, g: place.g + 1, since: this.index, from: kernel, to: 0 };
    return { type: "ended", endpoint, kernel, promoted, left };
  }

  /** The holder is no more: the first backup has the endpoint, or nobody. */
  #promote(endpoint: Endpoint, place: Place): Relocation | null {
    const [to, ...backups] = place.backups;
    if (to === undefined) {
      this.places.delete(endpoint);
      return null;
    }
    const from = place.holder;
    place.holder = to;
    place.g++;
    place.since = this.index;
    place.backups = backups;
    return { endpoint, g: place.g, since: place.since, from, to };
  }

  #isHeldBy(endpoint: Endpoint, kernel: KernelId): boolean {
    return isEndpoint(endpoint) && this.members.has(kernel) && this.holderOf(endpoint) === kernel;
  }
}

function refused(why: string): ViewChange {
  return { type: "refused", why };
}
function notHeld(endpoint: Endpoint, kernel: KernelId): string {
  return `kernel ${kernel} does not hold ${formatEndpoint(endpoint)}`;
}
function notMoving(endpoint: Endpoint, g: number): string {
  return `${formatEndpoint(endpoint)} is not in move ${g}`;
}
