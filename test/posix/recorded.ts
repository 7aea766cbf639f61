/** What a real Linux answered: one file a group, one line a case. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Answer, Case, Executor } from "./calls.ts";

export type Recorded = Record<string, Answer[]>;

export function recordedPath(group: string): string {
  return join(import.meta.dirname, "recorded", `${group}.json`);
}

export function readRecorded(group: string): Recorded {
  return JSON.parse(readFileSync(recordedPath(group), "utf8")) as Recorded;
}

/** The answers of all steps, in their order. */
export async function runCase({ steps }: Case, executor: Executor): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const step of steps) answers.push(await executor.run(step));
  return answers;
}
