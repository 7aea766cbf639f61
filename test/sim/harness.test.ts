/** The simulator's own parts: what they promise, and that they lie where a real cluster would. */
import { describe, expect, test } from "bun:test";
import { Disk, DiskFull } from "./harness/disk.ts";
import { Random } from "./harness/random.ts";
import { Simulation } from "./harness/simulation.ts";
import type { Stream } from "./harness/stream.ts";

function hosts(seed = 1) {
  const sim = new Simulation(seed);
  const [a, b] = [sim.host("a"), sim.host("b")];
  a.start();
  b.start();
  return { sim, a, b };
}

describe("time", () => {
  test("tasks run in order of time, and the clock is theirs", () => {
    const sim = new Simulation(1);
    const seen: number[] = [];
    for (const delay of [30, 10, 20, 10]) sim.after(delay, () => seen.push(sim.nowMs));
    sim.run(25);
    expect([...seen, sim.nowMs]).toEqual([10, 10, 20, 25]);
    sim.run(5);
    expect(seen).toEqual([10, 10, 20, 30]);
  });

  test("tasks of one instant run in an order that depends on the seed alone", () => {
    const order = (seed: number) => {
      const sim = new Simulation(seed);
      const seen: number[] = [];
      for (let i = 0; i < 8; i++) sim.after(1, () => seen.push(i));
      sim.run(1);
      return seen.join("");
    };
    expect(order(1)).toBe(order(1));
    expect(new Set([1, 2, 3, 4, 5].map(order)).size).toBeGreaterThan(1);
  });

  test("a thousand random tasks run in order", () => {
    const sim = new Simulation(7);
    const seen: number[] = [];
    for (let i = 0; i < 1_000; i++) sim.after(sim.random.between(0, 100), () => seen.push(sim.nowMs));
    sim.run(100);
    expect(seen).toEqual([...seen].sort((x, y) => x - y));
    expect(seen.length).toBe(1_000);
  });

  test("randomness is even, and a function of its seed", () => {
    const [x, y] = [new Random(5), new Random(5)];
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const n = x.integer(0, 9);
      expect(y.integer(0, 9)).toBe(n);
      counts[n]!++;
    }
    expect(Math.min(...counts)).toBeGreaterThan(800);
  });
});

describe("a host", () => {
  test("that crashes runs nothing of its old life, also when it is started again", () => {
    const { sim, a } = hosts();
    let runs = 0;
    a.every(10, () => runs++);
    sim.run(35);
    expect(runs).toBe(3);
    a.crash();
    a.start();
    sim.run(100);
    expect(runs).toBe(3);
  });

  test("that is stopped finds its timers and messages on resume, in order", () => {
    const { sim, a, b } = hosts();
    const seen: string[] = [];
    a.pause();
    a.after(5, () => seen.push("timer"));
    sim.run(10);
    sim.network.send(b, a, () => seen.push("message"));
    sim.run(10);
    expect(seen).toEqual([]);
    a.resume();
    sim.run(1);
    expect(seen).toEqual(["timer", "message"]);
  });
});

describe("the network", () => {
  test("loses, doubles and reorders messages when told to", () => {
    const { sim, a, b } = hosts();
    sim.network.faults = { latencyMs: { min: 0, max: 9 }, loss: 0.3, duplicate: 0.3, held: 0.1, heldMs: 50 };
    const seen: number[] = [];
    for (let i = 0; i < 100; i++) sim.after(i, () => sim.network.send(a, b, () => seen.push(i)));
    sim.run(1_000);
    expect(new Set(seen).size).toBeLessThan(90);
    expect(seen.length).toBeGreaterThan(new Set(seen).size);
    expect(seen).not.toEqual([...seen].sort((x, y) => x - y));
  });

  test("a cut is one-way", () => {
    const { sim, a, b } = hosts();
    const seen: string[] = [];
    sim.network.cut("a", "b");
    sim.network.send(a, b, () => seen.push("a>b"));
    sim.network.send(b, a, () => seen.push("b>a"));
    sim.run(100);
    expect(seen).toEqual(["b>a"]);
  });

  test("an answer does not reach the next life of who asked", () => {
    const { sim, a, b } = hosts();
    let answers = 0;
    sim.network.request<number>(
      a,
      b,
      (reply) => reply(1),
      () => answers++,
    );
    a.crash();
    a.start();
    sim.run(100);
    expect(answers).toBe(0);
  });
});

describe("a stream", () => {
  function connected(seed = 1) {
    const parts = hosts(seed);
    let far: Stream<number, string> | undefined;
    const near = parts.sim.network.connect<string, number>(parts.a, parts.b, (stream) => {
      far = stream;
    });
    parts.sim.run(50);
    return { ...parts, near, far: far! };
  }

  test("keeps its order whatever is lost or late, and whoever is stopped for a while", () => {
    const { sim, a, near, far } = connected(3);
    sim.network.faults = { latencyMs: { min: 0, max: 9 }, loss: 0.3, duplicate: 0.3, held: 0.3, heldMs: 90 };
    const seen: number[] = [];
    near.onMessage = (n) => seen.push(n);
    for (let i = 0; i < 50; i++) sim.after(i * 10, () => far.send(i));
    sim.after(100, () => a.pause());
    sim.after(5_000, () => a.resume());
    sim.after(200, () => sim.network.cut("b", "a"));
    sim.after(700, () => sim.network.mend("b", "a"));
    sim.run(60_000);
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });

  test("breaks when the link stays cut, and when the other host process is another one", () => {
    const cut = connected();
    let closed = 0;
    cut.far.onClose = () => closed++;
    cut.sim.network.cut("b", "a");
    cut.far.send(1);
    cut.sim.run(60_000);
    expect(closed).toBe(1);

    const reborn = connected();
    const seen: number[] = [];
    reborn.near.onMessage = (n) => seen.push(n);
    reborn.far.onClose = () => closed++;
    reborn.a.crash();
    reborn.a.start();
    reborn.far.send(1);
    reborn.sim.run(100);
    expect([closed, seen.length]).toEqual([2, 0]);
  });

  test("closes after all that was sent before", () => {
    const { sim, near, far } = connected();
    const seen: (number | string)[] = [];
    near.onMessage = (n) => seen.push(n);
    near.onClose = () => seen.push("closed");
    far.send(1);
    far.send(2);
    far.close();
    far.send(3);
    sim.run(1_000);
    expect(seen).toEqual([1, 2, "closed"]);
  });
});

describe("a disk", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const text = (disk: Disk, name: string) => {
    const read = disk.read(name);
    return read && new TextDecoder().decode(read);
  };

  test("keeps what was synced, file and name, through any power cut", () => {
    for (let seed = 0; seed < 50; seed++) {
      const disk = new Disk(new Random(seed));
      disk.append("log", bytes("one"));
      disk.sync("log");
      disk.syncDirectory();
      disk.append("log", bytes("two"));
      disk.powerCut();
      expect(text(disk, "log")?.startsWith("one")).toBe(true);
    }
  });

  test("loses, keeps and tears what was not synced, and may forget a new name", () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const disk = new Disk(new Random(seed));
      disk.append("log", new Uint8Array(2_000).fill(7));
      disk.powerCut();
      const read = disk.read("log");
      const written = read?.filter((byte) => byte === 7).length;
      outcomes.add(
        read === null ? "no name" : written === 2_000 ? "whole" : written === 0 ? "empty" : "torn",
      );
    }
    expect(outcomes).toEqual(new Set(["no name", "whole", "empty", "torn"]));
  });

  test("a rename is all or nothing", () => {
    const outcomes = new Set<string>();
    for (let seed = 0; seed < 100; seed++) {
      const disk = new Disk(new Random(seed));
      disk.append("file", bytes("old"));
      disk.sync("file");
      disk.syncDirectory();
      disk.append("new", bytes("new"));
      disk.sync("new");
      disk.rename("new", "file");
      disk.powerCut();
      outcomes.add(`${text(disk, "file")} ${disk.names().join()}`);
    }
    expect(outcomes).toEqual(new Set(["old file", "old file,new", "new file"]));
  });

  test("keeps unsynced writes when only the program dies, and refuses what does not fit", () => {
    const disk = new Disk(new Random(1));
    disk.bytesMax = 10;
    disk.append("log", bytes("12345"));
    expect(text(disk, "log")).toBe("12345");
    expect(() => disk.append("log", bytes("678901"))).toThrow(DiskFull);
    expect(text(disk, "log")).toBe("12345");
  });
});

test("two runs of a seed leave the same trace, other seeds another", () => {
  const run = (seed: number) => {
    const { sim, a, b } = hosts(seed);
    a.every(10, () => sim.network.send(a, b, () => sim.log(`got ${sim.random.id()}`)));
    sim.run(500);
    return sim.trace.hash();
  };
  expect(run(1)).toBe(run(1));
  expect(run(1)).not.toBe(run(2));
});
