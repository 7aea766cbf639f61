/** Options that all parts of `npm run bench:ipc` share. */
import { parseArgs } from "node:util";

export interface IpcOptions {
  rounds: number;
  /** Of one measurement in a round; NaN: the part's own. */
  seconds: number;
  /** Figures whose name begins with this. */
  wants: (name: string) => boolean;
}

/** Throws for what is not an option, or no number. */
export function ipcOptions(args: string[] = process.argv.slice(2)): IpcOptions {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string", default: "" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string" },
    },
  });
  const rounds = Number(values.rounds);
  const seconds = values.seconds === undefined ? Number.NaN : Number(values.seconds);
  if (!Number.isInteger(rounds) || rounds < 1 || seconds <= 0 || (values.seconds && Number.isNaN(seconds)))
    throw new Error("--rounds N, at least 1; --seconds N, above 0");
  const only = values.only.split(",");
  return { rounds, seconds, wants: (name) => only.some((prefix) => name.startsWith(prefix)) };
}
