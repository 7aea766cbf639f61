/** Which runtime this is, and how dvs starts itself again as another host process. */

export const isDeno = "Deno" in globalThis;
export const isBun = "Bun" in globalThis;

export const runtimeName: string = isDeno
  ? `deno ${(globalThis as { Deno?: { version: { deno: string } } }).Deno?.version.deno}`
  : `bun ${process.versions["bun"]}`;

/** True in the binary that `bun build --compile` made. */
export const isCompiled = import.meta.url.includes("$bunfs");

/**
 * The command that runs dvs with these arguments in a new host process, the same way as this one was run:
 * the compiled binary, `bun cli/main.ts`, or `deno run -A cli/main.ts`.
 */
export function selfCommand(args: string[]): { command: string; args: string[] } {
  if (isCompiled) return { command: process.execPath, args };
  const main = new URL("../../cli/main.ts", import.meta.url).pathname;
  if (isDeno) return { command: process.execPath, args: ["run", "-A", main, ...args] };
  return { command: process.execPath, args: ["--no-install", main, ...args] };
}
