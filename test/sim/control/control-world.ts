/** All parts of one simulated cluster under the controllers. */
import type { Simulation } from "../harness/simulation.ts";
import { Faults } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { SimCoordinator } from "./sim-coordinator.ts";
import { SimMachine } from "./sim-machine.ts";
import { SimReplicas } from "./sim-replicas.ts";
import { SimStore } from "./sim-store.ts";
import { Users } from "./users.ts";

/** A defect put in on purpose, to see that the simulator finds it. */
export type Mutant = "no leader compare" | undefined;

export class ControlWorld {
  readonly sim: Simulation;
  readonly store: SimStore;
  readonly invariants: Invariants;
  readonly faults: Faults;
  readonly coordinators: SimCoordinator[];
  readonly machines = new Map<string, SimMachine>();
  readonly users: Users;
  readonly replicas: SimReplicas;

  constructor(sim: Simulation, mutant?: Mutant) {
    this.sim = sim;
    this.store = new SimStore(sim);
    this.invariants = new Invariants(this);
    this.store.onCommit = (commit) => this.invariants.checkCommit(commit);
    this.faults = new Faults(this, mutant);
    this.coordinators = ["c1", "c2"].map((id) => new SimCoordinator(this, id));
    this.users = new Users(this);
    this.replicas = new SimReplicas(this);
  }

  /** A machine is set up and its agent told the cluster's address. */
  addMachine(id: string): SimMachine {
    const machine = new SimMachine(this, id);
    this.machines.set(id, machine);
    machine.powerOn();
    return machine;
  }
}
