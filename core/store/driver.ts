/**
 * What a driver is: a Store that may trust its arguments (`enforce.ts` has checked them) and that also keeps the
 * reserved keys. Those begin with `!`, so that no prefix of a user's keys, which begin with `/`, ever covers one.
 */
import type { Store } from "./store.ts";

export type Driver = Store;

/** Decimal number; absent in a store that was never restored or copied into. */
export const generationKey = "!generation";
/** Present while a copy or restore fills the store: it holds a part of something and must not be used. */
export const fillingKey = "!filling";

export function generationOf(value: string | undefined): number {
  return value === undefined ? 1 : Number(value);
}
