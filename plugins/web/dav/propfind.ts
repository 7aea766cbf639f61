/** PROPFIND: what a file or a collection is, and what is in it: one level, since more may be without end. */
import { type Attributes, isDirectory, isSymlink, kindOf, kinds } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import { rootIno } from "../../../core/files/file-system.ts";
import { resolvePath } from "../../../core/files/paths.ts";
import { type DavAnswer, Refusal, unmet } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import type { XmlElement } from "./parse-xml.ts";
import { placeOf } from "./place.ts";
import { allProperties, type Described, liveProperties, type LiveProperty } from "./properties.ts";
import { asMissing } from "./remove.ts";
import { xmlOf } from "./request-xml.ts";
import {
  dav,
  element,
  multistatusBegin,
  multistatusEnd,
  type PropertyName,
  propstat,
  response,
  xmlType,
} from "./xml.ts";

const entriesAtOnce = 256;

export async function propfind(context: DavContext, target: Target, request: Request): Promise<DavAnswer> {
  const depth = (request.headers.get("depth") ?? "infinity").toLowerCase();
  if (depth === "infinity") throw unmet(403, "propfind-finite-depth");
  if (depth !== "0" && depth !== "1") throw new Refusal(400);
  const wish = wishOf(await xmlOf(request));
  const found = await foundAt(context, target);
  const path = `/${target.names.join("/")}`;
  const usage = wish.type === "some" && isDirectory(found) ? await context.fs.usage() : null;
  const describe = (at: string, attributes: Attributes): string => {
    const described: Described = { path: at, attributes, usage };
    return response(hrefOf(at, isDirectory(attributes)), propertiesOf(context, described, wish));
  };
  async function* parts(): AsyncGenerator<string> {
    yield multistatusBegin + describe(path, found);
    if (depth === "1" && isDirectory(found)) {
      for await (const entries of entriesOf(context, path, found.ino)) {
        yield entries.map(([at, attributes]) => describe(at, attributes)).join("");
      }
    }
    yield multistatusEnd;
  }
  return { status: 207, headers: { "content-type": xmlType }, body: streamOf(parts()) };
}

type Wish = { type: "all" | "names" } | { type: "some"; names: PropertyName[] };

function wishOf(root: XmlElement | null): Wish {
  if (!root) return { type: "all" };
  const child = (name: string): XmlElement | undefined =>
    root.children.find((one) => one.space === dav && one.name === name);
  if (root.space !== dav || root.name !== "propfind") throw new Refusal(400);
  const some = child("prop");
  if (some) return { type: "some", names: some.children.map(({ space, name }) => ({ space, name })) };
  if (child("propname")) return { type: "names" };
  if (child("allprop")) return { type: "all" };
  throw new Refusal(400);
}

function propertiesOf(context: DavContext, described: Described, wish: Wish): string {
  const valueOf = (property: LiveProperty): string | null => liveProperties[property](described, context);
  if (wish.type !== "some") {
    const known = allProperties.flatMap((name) => {
      const value = valueOf(name);
      if (value === null) return [];
      return [element({ space: dav, name }, wish.type === "names" ? "" : value)];
    });
    return propstat("200 OK", known);
  }
  const [known, unknown]: [string[], string[]] = [[], []];
  for (const property of wish.names) {
    const { space, name } = property;
    const isLive = space === dav && Object.hasOwn(liveProperties, name);
    const value = isLive ? valueOf(name as LiveProperty) : null;
    if (value === null) unknown.push(element(property));
    else known.push(element(property, value));
  }
  // Of nothing, everything is known.
  return (
    propstat("200 OK", known) + propstat("404 Not Found", unknown) || "<D:status>HTTP/1.1 200 OK</D:status>"
  );
}

/** A link is what it leads to, where that is a file. */
async function foundAt({ fs, isShown }: DavContext, { names, isCollection }: Target): Promise<Attributes> {
  if (names.length === 0) return fs.attributes(rootIno);
  const path = `/${names.join("/")}`;
  const { found } = await placeOf(fs, names).catch(asMissing);
  const shown = found && isShown(path) ? await shownOf({ fs }, path, found) : null;
  if (!shown || (isCollection && !isDirectory(shown))) throw new Refusal(404);
  return shown;
}

/** Batches of what is in a directory and may be told. */
async function* entriesOf(
  context: DavContext,
  path: string,
  ino: number,
): AsyncGenerator<[path: string, attributes: Attributes][]> {
  const { fs, isShown } = context;
  for (let after = 0; ;) {
    const entries = await fs.entries(ino, after, entriesAtOnce, true);
    if (entries.length === 0) return;
    after = entries.at(-1)!.cookie;
    const shown: [string, Attributes][] = [];
    for (const { name, attributes } of entries) {
      const at = path === "/" ? `/${name}` : `${path}/${name}`;
      if (!isShown(at) || !attributes) continue;
      const known = await shownOf(context, at, attributes);
      if (known) shown.push([at, known]);
    }
    yield shown;
  }
}

async function shownOf(
  { fs }: Pick<DavContext, "fs">,
  path: string,
  attributes: Attributes,
): Promise<Attributes | null> {
  if (isDirectory(attributes) || kindOf(attributes) === kinds.file) return attributes;
  if (!isSymlink(attributes)) return null;
  try {
    const behind = await resolvePath(fs, path);
    return kindOf(behind) === kinds.file ? behind : null;
  } catch (e) {
    if (e instanceof FileError) return null;
    throw e;
  }
}

function hrefOf(path: string, isCollection: boolean): string {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return isCollection && path !== "/" ? `${encoded}/` : encoded;
}

function streamOf(source: AsyncGenerator<string>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  return new ReadableStream(
    {
      async pull(controller) {
        const next = await source.next();
        if (next.done) controller.close();
        else controller.enqueue(encoder.encode(next.value));
      },
      async cancel() {
        await source.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
