/** The XML that a request brings. */
import { KiB } from "../../../core/limits.ts";
import { Refusal } from "./answer.ts";
import { parseXml, type XmlElement } from "./parse-xml.ts";

/** Names of many more properties than there are. */
const bytesMax = 64 * KiB;

/** Null: there is no body. Throws a Refusal: 413, 400 for what is no XML. */
export async function xmlOf(request: Request): Promise<XmlElement | null> {
  const bytes = await bodyOf(request);
  if (bytes.length === 0) return null;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Refusal(400);
  }
  const root = parseXml(text);
  if (!root) throw new Refusal(400);
  return root;
}

/** Throws a Refusal with 415 where there is one: it would be ignored (RFC 4918 section 8.4). */
export async function withoutBody(request: Request): Promise<void> {
  if ((await bodyOf(request)).length > 0) throw new Refusal(415);
}

async function bodyOf({ body }: Request): Promise<Uint8Array> {
  if (!body) return new Uint8Array(0);
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
    bytes += piece.length;
    if (bytes > bytesMax) throw new Refusal(413);
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}
