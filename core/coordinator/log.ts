/** A line of the coordinator's own log. */
export type Log = (level: "info" | "warn" | "error", message: string) => void;
