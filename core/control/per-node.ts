/** Parts of what nodes are to run, by node and instance: what is derived again and equal stays the same object. Pure machine. */

interface Part<T> {
  value: T;
  text: string;
}

export class PerNode<T extends object> {
  /** Node → key of the instance → part. */
  readonly #parts = new Map<string, Map<string, Part<T>>>();
  /** Key of the instance → nodes that have a part of it. */
  readonly #nodes = new Map<string, ReadonlySet<string>>();

  /** All parts of an instance, by node. Names in `changed` the nodes for which that makes a difference. */
  set(key: string, parts: ReadonlyMap<string, T>, changed: Set<string>): void {
    for (const id of this.#nodes.get(key) ?? []) {
      if (!parts.has(id) && this.#parts.get(id)?.delete(key)) changed.add(id);
    }
    for (const [id, value] of parts) {
      const text = JSON.stringify(value);
      const on = this.#parts.get(id) ?? new Map<string, Part<T>>();
      if (on.get(key)?.text === text) continue;
      this.#parts.set(id, on.set(key, { value, text }));
      changed.add(id);
    }
    if (parts.size > 0) this.#nodes.set(key, new Set(parts.keys()));
    else this.#nodes.delete(key);
  }

  removeNode(id: string): void {
    this.#parts.delete(id);
  }

  /** What the node has, by key of the instance. */
  on(id: string): T[] {
    const parts = [...(this.#parts.get(id) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    return parts.map(([, part]) => part.value);
  }
}
