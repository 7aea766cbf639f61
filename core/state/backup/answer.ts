import { z } from "zod";

/** What became of a restore: `index` is the record after which every replica in sync has it. */
export const RestoreAnswer = z.object({ index: z.number().int().min(0) });
export type RestoreAnswer = z.infer<typeof RestoreAnswer>;
