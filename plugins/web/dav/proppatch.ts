/** PROPPATCH: properties of one's own are not kept, and those that there are tell what is: each is refused by its name. */
import { type DavAnswer, Refusal } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import { placeOf } from "./place.ts";
import { asMissing } from "./remove.ts";
import { xmlOf } from "./request-xml.ts";
import { dav, element, multistatusBegin, multistatusEnd, propstat, response, xmlType } from "./xml.ts";

export async function proppatch({ fs }: DavContext, { names }: Target, request: Request): Promise<DavAnswer> {
  const root = await xmlOf(request);
  if (root?.space !== dav || root.name !== "propertyupdate") throw new Refusal(400);
  const { found } = names.length === 0 ? { found: true } : await placeOf(fs, names).catch(asMissing);
  if (!found) throw new Refusal(404);
  const properties = root.children
    .filter(({ space, name }) => space === dav && (name === "set" || name === "remove"))
    .flatMap(({ children }) => children.filter(({ space, name }) => space === dav && name === "prop"))
    .flatMap(({ children }) => children.map((property) => element(property)));
  if (properties.length === 0) throw new Refusal(400);
  const why = "<D:error><D:cannot-modify-protected-property/></D:error>";
  const href = `/${names.map(encodeURIComponent).join("/")}`;
  const body = multistatusBegin + response(href, propstat("403 Forbidden", properties, why)) + multistatusEnd;
  return { status: 207, headers: { "content-type": xmlType }, body };
}
