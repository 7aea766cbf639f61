/**
 * Who may hold posix locks, by inode: the kernel says at each close of a file whose locks end with it (FLUSH), and nearly
 * always there are none.
 */
export class LockOwners {
  readonly #may = new Map<number, Set<string>>();

  /** One was asked for. */
  add(ino: number, owner: string): void {
    const owners = this.#may.get(ino);
    if (owners) owners.add(owner);
    else this.#may.set(ino, new Set([owner]));
  }

  /** True where it may have some. They are about to be given up. */
  take(ino: number, owner: string): boolean {
    const owners = this.#may.get(ino);
    if (!owners?.delete(owner)) return false;
    if (owners.size === 0) this.#may.delete(ino);
    return true;
  }
}
