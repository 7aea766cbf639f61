/** What is said when a command fails, and the exit code it ends with. */
import { DvsError } from "../core/errors.ts";
import { fileFailure } from "./file-failure.ts";
import type { Io } from "./io.ts";
import type { Words } from "./words.ts";

/** With `-o json` or `-o ndjson` the error is one JSON object on stderr (core/errors.ts ErrorBody). */
export async function sayFailure(thrown: unknown, argv: string[], io: Io, words: Words): Promise<number> {
  const error = fileFailure(thrown) ?? DvsError.from(thrown);
  await words.flush();
  if (wantsJson(argv, io)) {
    io.stderr.write(`${JSON.stringify(error.toBody())}\n`);
    return error.exit;
  }
  words.error(error.message + causes(error));
  await words.flush();
  if (io.env["DVS_DEBUG"] === "1") {
    for (let e: unknown = thrown; e instanceof Error; e = e.cause)
      io.stderr.write(`${e.stack ?? e.message}\n`);
  } else if (error.code === "INTERNAL") {
    io.stderr.write("This is a defect of dvs. Run the command again with DVS_DEBUG=1 for details.\n");
  }
  return error.exit;
}

/** The reasons below an error, where they say something that it does not say itself. */
function causes(error: DvsError): string {
  let text = "";
  let known = error.message;
  for (let e = error.cause; e instanceof Error; e = e.cause) {
    if (e.message === "" || known.includes(e.message)) continue;
    text += `\n  because: ${e.message}`;
    known += e.message;
  }
  return text;
}

function wantsJson(argv: string[], io: Io): boolean {
  const end = argv.indexOf("--");
  const flags = end < 0 ? argv : argv.slice(0, end);
  for (const [i, arg] of flags.entries()) {
    if (/^(--output=|-o=?)(json|ndjson)$/.test(arg)) return true;
    if ((arg === "-o" || arg === "--output") && /^(nd)?json$/.test(flags[i + 1] ?? "")) return true;
  }
  const given = flags.some((a) => a.startsWith("-o") || a.startsWith("--output"));
  return !given && /^(nd)?json$/.test(io.env["DVS_OUTPUT"] ?? "");
}
