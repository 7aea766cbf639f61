/** What every benchmark shares: one JSON object per figure on stdout, medians, words on stderr. */

export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** How many single measurements. */
  n: number;
  /** Interleaved rounds; the value is their median. */
  rounds: number;
  /** How long all of it took. */
  seconds: number;
  /** Whom it was measured against in the same rounds. */
  peer?: string;
  /** Median over the rounds of ours / theirs. */
  ratio?: number;
  /** What the figure should be, for the reader. */
  goal?: string;
  /** Anything that qualifies the figure. */
  detail?: Record<string, unknown>;
}

export function emit(figure: Figure): void {
  console.log(
    JSON.stringify({
      ...figure,
      value: round(figure.value),
      ...(figure.ratio === undefined ? {} : { ratio: round(figure.ratio) }),
    }),
  );
}

export function say(text: string): void {
  console.error(text);
}

export function median(values: number[]): number {
  if (values.length === 0) throw new Error("no values to take the median of");
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function round(n: number, digits = 3): number {
  return Math.round(n * 10 ** digits) / 10 ** digits;
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
