/**
 * NODE_TLS_REJECT_UNAUTHORIZED=0 switches certificate checks off in a whole process, and both runtimes read it at
 * each connection. Every client of dvs asks for the checks explicitly, which wins over it; this removes it too, also
 * from what child processes inherit. NODE_EXTRA_CA_CERTS needs nothing: clients name their one authority.
 */

const variable = "NODE_TLS_REJECT_UNAUTHORIZED";

/** First statement of every host process. The warning, once, when there was something to remove. */
export function secureEnvironment(warn: (message: string) => void = console.error): void {
  const value = process.env[variable];
  if (value === undefined) return;
  delete process.env[variable];
  warn(`Warning: ${variable}=${value} is set and ignored: dvs never switches certificate checks off.`);
}
