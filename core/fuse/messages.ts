/** What the process that serves a mount tells whoever has started it: one line of JSON on descriptor 3, and its end. */
import { z } from "zod";

export const MountTold = z.discriminatedUnion("type", [
  z.object({ type: z.literal("mounted"), pid: z.number().int() }),
  /** It was not mounted; an ErrorBody. */
  z.object({ type: z.literal("failed"), error: z.unknown() }),
]);
export type MountTold = z.infer<typeof MountTold>;

export const toldFd = 3;
