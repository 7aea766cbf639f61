/** Rows of a table of figures, measured in interleaved rounds: ours, then each peer's, and all of that again. */
import { type Figure, emit, median } from "../lib.ts";

export interface Row extends Pick<Figure, "name" | "unit" | "n"> {
  goal: string;
  /** What an acknowledged operation outlives. */
  durability: string;
  /** Further words for `detail`. */
  detail?: Record<string, unknown>;
  /** The more the better. */
  ours: () => Promise<number>;
  peers?: RowPeer[];
  /** Values are divided by it when they are told. */
  scale?: number;
}

export interface RowPeer {
  peer: string;
  run: () => Promise<number>;
}

export interface Rounds {
  rounds: number;
  /** Names of rows that are asked for. */
  wants: (name: string) => boolean;
}

/**
 * Rows of one round belong together: what one makes, the next renames, and the last removes. So all of them run when one
 * is asked for; what is not is not told. One figure for each peer.
 */
export async function measure({ rounds, wants }: Rounds, rows: Row[]): Promise<void> {
  if (!rows.some(({ name }) => wants(name))) return;
  const measured = rows.map(({ peers = [] }) => ({
    values: [] as number[],
    ratios: peers.map((): number[] => []),
    seconds: 0,
  }));
  for (let round = 0; round <= rounds; round++) {
    for (const [i, { ours, peers = [] }] of rows.entries()) {
      const began = performance.now();
      const value = await ours();
      const others: number[] = [];
      for (const { run } of peers) others.push(await run());
      // The first round compiles.
      if (round === 0) continue;
      const kept = measured[i]!;
      kept.values.push(value);
      for (const [j, other] of others.entries()) kept.ratios[j]!.push(value / other);
      kept.seconds += (performance.now() - began) / 1_000;
    }
  }
  for (const [i, row] of rows.entries()) {
    if (!wants(row.name)) continue;
    const { name, unit, goal, durability, n, peers = [], scale = 1, detail } = row;
    const { values, ratios, seconds } = measured[i]!;
    const figure = { name, value: median(values) / scale, unit, n, rounds, seconds };
    const said = { goal, detail: { durability, ...detail } };
    if (peers.length === 0) emit({ ...figure, ...said });
    for (const [j, { peer }] of peers.entries())
      emit({ ...figure, peer, ratio: median(ratios[j]!), ...said });
  }
}

/** Operations a second of so many that each wait for the answer. */
export async function perSecond(
  n: number,
  at: number,
  act: (i: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const one = async () => {
    for (let i = next++; i < n; i = next++) await act(i);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: at }, one));
  return (n / (performance.now() - began)) * 1_000;
}

let runs = 0;
/** Names of files of a run begin with it: nobody else's do. */
export function newRun(): string {
  return `r${++runs}`;
}
