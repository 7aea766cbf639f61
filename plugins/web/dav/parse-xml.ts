/**
 * Reads the small XML of WebDAV requests: elements, namespaces, text. Nothing else: a document type, and with it any
 * entity of one's own, is refused, so that nothing can expand, and nothing is fetched.
 */
export interface XmlElement {
  /** Namespace, "" where there is none. */
  space: string;
  name: string;
  children: XmlElement[];
}

const depthMax = 16;
const elementsMax = 1_024;
const nameForm = "[A-Za-z_][A-Za-z0-9._-]*";
const qualified = new RegExp(`^(?:(${nameForm}):)?(${nameForm})$`);
const attribute = new RegExp(`\\s+((?:${nameForm}:)?${nameForm})\\s*=\\s*("[^"<]*"|'[^'<]*')`, "y");
const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

interface Open {
  element: XmlElement;
  written: string;
  /** Namespaces by their prefixes. */
  spaces: ReadonlyMap<string, string>;
}

const outermost: ReadonlyMap<string, string> = new Map([
  ["", ""],
  ["xml", "http://www.w3.org/XML/1998/namespace"],
]);

/** Null for what is no such document. */
export function parseXml(text: string): XmlElement | null {
  try {
    return parse(text.replace(/^\ufeff/, ""));
  } catch (e) {
    if (e instanceof NotXml) return null;
    throw e;
  }
}

class NotXml extends Error {}

function parse(text: string): XmlElement {
  let root: XmlElement | null = null;
  const open: Open[] = [];
  let elements = 0;
  for (let at = 0; at < text.length;) {
    const tag = text.indexOf("<", at);
    checkText(text.slice(at, tag < 0 ? text.length : tag), open.length > 0);
    if (tag < 0) break;
    const skipped = behindAside(text, tag, open.length > 0);
    if (skipped > 0) {
      at = skipped;
      continue;
    }
    const end = endOfTag(text, tag);
    const inner = text.slice(tag + 1, end);
    at = end + 1;
    if (inner.startsWith("/")) {
      if (open.pop()?.written !== inner.slice(1).trimEnd()) throw new NotXml();
      continue;
    }
    if ((root && open.length === 0) || ++elements > elementsMax || open.length === depthMax)
      throw new NotXml();
    const closed = inner.endsWith("/");
    const next = opened(closed ? inner.slice(0, -1) : inner, open.at(-1)?.spaces ?? outermost);
    open.at(-1)?.element.children.push(next.element);
    root ??= next.element;
    if (!closed) open.push(next);
  }
  if (!root || open.length > 0) throw new NotXml();
  return root;
}

/** Behind a comment, an instruction or a section of plain text that begins here; 0: none does. */
function behindAside(text: string, at: number, inside: boolean): number {
  const behind = (end: string): number => {
    const found = text.indexOf(end, at);
    if (found < 0) throw new NotXml();
    return found + end.length;
  };
  if (text.startsWith("<!--", at)) return behind("-->");
  if (text.startsWith("<?", at)) return behind("?>");
  if (inside && text.startsWith("<![CDATA[", at)) return behind("]]>");
  if (text.startsWith("<!", at)) throw new NotXml();
  return 0;
}

/** A ">" within quotes is none. */
function endOfTag(text: string, at: number): number {
  let quote = "";
  for (let i = at + 1; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== "") quote = c === quote ? "" : quote;
    else if (c === '"' || c === "'") quote = c;
    else if (c === ">") return i;
    else if (c === "<") break;
  }
  throw new NotXml();
}

function opened(inner: string, outer: ReadonlyMap<string, string>): Open {
  const [written = ""] = /^[^\s]*/.exec(inner) ?? [];
  // Most elements name none.
  let own: Map<string, string> | null = null;
  const seen = new Set<string>();
  attribute.lastIndex = written.length;
  let at = written.length;
  for (let match = attribute.exec(inner); match; match = attribute.exec(inner)) {
    at = attribute.lastIndex;
    const [, name = "", quoted = ""] = match;
    if (seen.has(name)) throw new NotXml();
    seen.add(name);
    const value = decoded(quoted.slice(1, -1));
    if (name !== "xmlns" && !name.startsWith("xmlns:")) continue;
    // An undeclared prefix would be no name at all.
    if (value === "" && name !== "xmlns") throw new NotXml();
    (own ??= new Map(outer)).set(name.slice(6), value);
  }
  const [whole, prefix = "", name = ""] = qualified.exec(written) ?? [];
  const spaces = own ?? outer;
  const space = spaces.get(prefix);
  if (whole === undefined || space === undefined || inner.slice(at).trim() !== "") throw new NotXml();
  return { element: { space, name, children: [] }, written, spaces };
}

function checkText(text: string, inside: boolean): void {
  // oxlint-disable-next-line no-control-regex -- they are what must be refused
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)) throw new NotXml();
  if (!inside && text.trim() !== "") throw new NotXml();
  decoded(text);
}

function decoded(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(/&([^;&]{0,12})(;?)/g, (_all, name: string, semicolon: string) => {
    if (semicolon === "") throw new NotXml();
    if (Object.hasOwn(entities, name)) return entities[name]!;
    const [, hex, decimal] = /^#(?:x([0-9a-fA-F]{1,6})|(\d{1,7}))$/.exec(name) ?? [];
    const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
    const isCharacter = code <= 0x10ffff && (code >= 0x20 || code === 9 || code === 10 || code === 13);
    if (!isCharacter || (code >= 0xd800 && code < 0xe000)) throw new NotXml();
    return String.fromCodePoint(code);
  });
}
