/**
 * People at work: they create, stop, start and remove instances, drain nodes and let them leave, through the
 * transactions that the API uses (core/control/requests.ts). What was acknowledged to them is a promise.
 */
import {
  createConflict,
  createTxn,
  leaveTxn,
  removeNodeTxn,
  setDesiredTxn,
  setNodeTxn,
} from "../../../core/control/requests.ts";
import { type InstanceRecord, InstanceSpec, keys, type NodeRecord } from "../../../core/records.ts";
import type { Txn, TxnResult } from "../../../core/store/store.ts";
import type { Host } from "../harness/host.ts";
import type { ControlWorld } from "./control-world.ts";

const names = ["a", "b", "c", "d", "e", "f", "g", "h"];
/** The ports that people publish. */
export const publishable = [80, 81, 82, 83, 84, 85, 86, 87];
const nodesMax = 7;

export class Users {
  readonly #world: ControlWorld;
  readonly #host: Host;
  #nodes = 0;
  #working = true;

  constructor(world: ControlWorld) {
    this.#world = world;
    this.#host = world.sim.host("users");
    this.#host.start();
  }

  /** Joins a node: its record first, then its machine. */
  join(): void {
    const { sim, store } = this.#world;
    const id = `n${++this.#nodes}`;
    const record: NodeRecord = {
      id,
      name: id,
      address: `10.0.0.${this.#nodes}`,
      labels: sim.random.chance(0.5) ? { disk: "ssd" } : {},
      schedulable: true,
      leaving: false,
      joinedAt: "",
      containersMax: sim.random.chance(0.2) ? 2 : 0,
    };
    store.txn(
      {
        if: [],
        then: [
          { type: "put", key: keys.node(id), value: JSON.stringify(record) },
          { type: "put", key: keys.nodeName(id), value: id },
        ],
      },
      { by: "users", kind: "join" },
    );
    this.#world.addMachine(id);
  }

  work(): void {
    this.#host.after(this.#world.sim.random.between(50, 1_500), () => {
      if (!this.#working) return;
      this.#act();
      this.work();
    });
  }

  rest(): void {
    this.#working = false;
  }

  #act(): void {
    const { sim, machines } = this.#world;
    const dice = sim.random.integer(0, 99);
    if (dice < 45) this.#create();
    else if (dice < 58) this.#setDesired("removed");
    else if (dice < 68) this.#setDesired("stopped");
    else if (dice < 80) this.#setDesired("running");
    else if (dice < 85) this.#drain(false);
    else if (dice < 92) this.#drain(true);
    else if (dice < 95) this.#leave();
    else if (dice < 97) this.#giveUp();
    else if (machines.size < nodesMax) this.join();
  }

  #create(): void {
    const { random } = this.#world.sim;
    const name = random.pick(names);
    const poison = random.chance(0.25) ? random.sample([...this.#world.machines.keys()], 2) : [];
    const nodes = random.integer(1, 4);
    const replicas = random.integer(1, Math.min(3, nodes));
    const replaceAfterMs = random.pick([3_000, 8_000]);
    const state = { replicas, minInSync: 1, durability: "fsync" as const, replaceAfterMs };
    const record: InstanceRecord = {
      tenant: "default",
      name,
      uid: random.id(),
      spec: InstanceSpec.parse({
        os: "web",
        nodes,
        state: random.chance(0.5) ? state : null,
        on: random.chance(0.15) ? { disk: "ssd" } : {},
        options: { poison, flaky: random.chance(0.2) },
        publish: random.sample(publishable, random.integer(0, 2)).map((port) => ({ port })),
      }),
      generation: 1,
      desired: "running",
      phase: "creating",
      failure: null,
      placement: [],
      replicas: [],
      createdAt: "",
    };
    this.#request("create", createTxn(record, this.#stamp()), (result) => {
      if (result.succeeded) this.#world.invariants.acknowledgeCreate(record.uid);
      else this.#world.sim.count(`create refused:${createConflict(record, result)?.code ?? "mine"}`);
    });
  }

  #setDesired(desired: InstanceRecord["desired"]): void {
    const { sim, store, invariants } = this.#world;
    const found = store
      .range(keys.instances("default"))
      .map((kv) => ({ record: JSON.parse(kv.value) as InstanceRecord, modRevision: kv.modRevision }))
      .filter(({ record }) => record.desired !== desired && record.desired !== "removed");
    if (found.length === 0) return;
    const { record, modRevision } = sim.random.pick(found);
    if (desired === "removed") invariants.noteRemoveAsked(record.uid);
    this.#request(desired, setDesiredTxn(record, modRevision, desired, this.#stamp()), (result) => {
      if (result.succeeded && desired === "removed") invariants.acknowledgeRemove(record.uid);
    });
  }

  #drain(schedulable: boolean): void {
    if (!schedulable && this.#world.store.range(keys.nodes).length <= 2) return;
    const found = this.#node((record) => record.schedulable !== schedulable && !record.leaving);
    if (!found) return;
    const txn = setNodeTxn(found.record, found.modRevision, { schedulable }, this.#stamp());
    this.#request(schedulable ? "undrain" : "drain", txn);
  }

  #leave(): void {
    if (this.#world.store.range(keys.nodes).length <= 2) return;
    const found = this.#node((record) => !record.leaving);
    if (found) this.#request("leave", leaveTxn(found.record, found.modRevision, this.#stamp()));
  }

  /** `dvs node rm` of a machine that is off. */
  #giveUp(): void {
    const found = this.#node((record) => this.#world.machines.get(record.id)?.host.running === false);
    if (found) this.#request("node rm", removeNodeTxn(found.record, found.modRevision, this.#stamp()));
  }

  #node(wanted: (record: NodeRecord) => boolean): { record: NodeRecord; modRevision: number } | null {
    const nodes = this.#world.store
      .range(keys.nodes)
      .map((kv) => ({ record: JSON.parse(kv.value) as NodeRecord, modRevision: kv.modRevision }))
      .filter(({ record }) => wanted(record));
    return nodes.length > 0 ? this.#world.sim.random.pick(nodes) : null;
  }

  #request(kind: string, txn: Txn, done: (result: TxnResult) => void = () => undefined): void {
    const { sim, store } = this.#world;
    sim.count(`asked:${kind}`);
    store.request(this.#host, () => store.txn(txn, { by: "users", kind }), done);
  }

  #stamp() {
    return { id: this.#world.sim.random.id(), wallMs: this.#host.wallMs() };
  }
}
