/** DELETE: of a file, or of a collection with all that is in it, which is gone at once. */
import { isDirectory } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import type { DavAnswer } from "./answer.ts";
import { Refusal } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import { placeOf } from "./place.ts";
import { checkPreconditions, isGuarded } from "./preconditions.ts";
import { currentOf } from "./target.ts";

const triesMax = 16;

export async function remove(context: DavContext, target: Target, { headers }: Request): Promise<DavAnswer> {
  const { fs, work, tagOf } = context;
  for (let tries = 1; ; tries++) {
    const { parent, name, found } = await placeOf(fs, target.names).catch(asMissing);
    if (!found) throw new Refusal(404);
    checkPreconditions(headers, currentOf(found, tagOf));
    try {
      if (isDirectory(found)) {
        if ((headers.get("depth") ?? "infinity").toLowerCase() !== "infinity") throw new Refusal(400);
        if (!target.isWhole) throw new Refusal(403);
        const taken = await work.take(parent, name);
        await work.drop(taken.name);
      } else if (target.isCollection) throw new Refusal(404);
      else await fs.unlink(parent, name, isGuarded(headers) ? found.ino : undefined);
      return { status: 204 };
    } catch (e) {
      if (!(e instanceof FileError)) throw e;
      if (e.code === "ENOENT") throw new Refusal(404);
      // Another file, or a directory where a file was.
      if ((e.code !== "ESTALE" && e.code !== "EISDIR") || tries === triesMax) throw e;
    }
  }
}

/** Where there is no directory there is nothing in it. */
export function asMissing(e: unknown): never {
  throw e instanceof Refusal && e.answer.status === 409 ? new Refusal(404) : e;
}
