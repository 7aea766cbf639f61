/** Statements of one part of the volume, prepared once. */
import type { StateStatement, StateTables } from "../../state/module.ts";

export function prepareAll<const S extends Record<string, string>>(
  tables: StateTables,
  statements: S,
): Record<keyof S, StateStatement> {
  const prepared = Object.entries(statements).map(([name, sql]) => [name, tables.prepare(sql)] as const);
  return Object.fromEntries(prepared) as Record<keyof S, StateStatement>;
}
