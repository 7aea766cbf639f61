/**
 * Virtual time: tasks run one after another at the time they are due, and time jumps from one to the next. Tasks of
 * the same instant run in random order, since nothing in a real cluster orders them.
 */
import type { Random } from "./random.ts";

export interface Task {
  atMs: number;
  tie: number;
  run(): void;
  cancelled: boolean;
}

export class Scheduler {
  nowMs = 0;
  /** Tasks run so far. */
  steps = 0;
  readonly #random: Random;
  /** A binary heap, the earliest first. */
  readonly #heap: Task[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** `delayMs` from now; never in the past. */
  after(delayMs: number, run: () => void): Task {
    const atMs = this.nowMs + Math.max(0, delayMs);
    const task: Task = { atMs, tie: this.#random.uint32(), run, cancelled: false };
    this.#push(task);
    return task;
  }

  /** Runs the next task. False when none is left, or the next is due after `untilMs`. */
  step(untilMs = Infinity): boolean {
    for (;;) {
      const task = this.#heap[0];
      if (!task || task.atMs > untilMs) return false;
      this.#pop();
      if (task.cancelled) continue;
      this.nowMs = task.atMs;
      this.steps++;
      task.run();
      return true;
    }
  }

  #push(task: Task): void {
    const heap = this.#heap;
    let i = heap.push(task) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(task, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = task;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Task, b: Task): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.tie < b.tie);
}
