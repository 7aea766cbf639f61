/** MKCOL: a directory. */
import { type DavAnswer, Refusal } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import { directoryMode } from "./copy-tree.ts";
import { placeOf } from "./place.ts";
import { withoutBody } from "./request-xml.ts";

export async function makeCollection(
  { fs }: DavContext,
  { names }: Target,
  request: Request,
): Promise<DavAnswer> {
  await withoutBody(request);
  if (names.length === 0) throw new Refusal(405);
  const { parent, name, found } = await placeOf(fs, names);
  if (found) throw new Refusal(405);
  await fs.makeDirectory(parent, name, directoryMode);
  return { status: 201 };
}
