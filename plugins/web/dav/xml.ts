/** Writes the XML of WebDAV's answers: everything that comes from outside passes `escapeXml`. */

export const dav = "DAV:";
export const xmlType = 'application/xml; charset="utf-8"';
export const multistatusBegin = '<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">\n';
export const multistatusEnd = "</D:multistatus>\n";

/** A property by its name. */
export interface PropertyName {
  space: string;
  name: string;
}

/** `inner` is XML; "" for an empty element. */
export function element({ space, name }: PropertyName, inner = ""): string {
  const [begin, end] =
    space === dav ? [`D:${name}`, `D:${name}`] : [`${name} xmlns="${escapeXml(space)}"`, name];
  return inner === "" ? `<${begin}/>` : `<${begin}>${inner}</${end}>`;
}

/** Properties that share a status; "" where there are none. */
export function propstat(status: string, properties: readonly string[], more = ""): string {
  if (properties.length === 0) return "";
  return `<D:propstat><D:prop>${properties.join("")}</D:prop><D:status>HTTP/1.1 ${status}</D:status>${more}</D:propstat>`;
}

/** `href` is encoded as in URLs. */
export function response(href: string, inner: string): string {
  return `<D:response><D:href>${escapeXml(href)}</D:href>${inner}</D:response>\n`;
}

// oxlint-disable-next-line no-control-regex -- XML cannot say them at all
const unsayable = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g;

export function escapeXml(text: string): string {
  return text
    .replaceAll(unsayable, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
