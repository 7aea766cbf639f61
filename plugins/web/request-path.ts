/**
 * The path of a request, decoded once and strictly: what could be read in two ways by two programs is refused. So no
 * encoding of `/`, `\`, NUL or a dot segment ever reaches the image, and every path means one file.
 */

export const pathCharsMax = 4_096;

/** From the first `/` behind the authority up to the query: what the client sent, still encoded. */
export function rawPathOf(url: string): string {
  // HTTP/1.0 without Host gives a URL without an authority.
  const start = url.charCodeAt(0) === 47 ? 0 : url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  const path = query < 0 ? url.slice(start) : url.slice(start, query);
  const fragment = path.indexOf("#");
  return fragment < 0 ? path : path.slice(0, fragment);
}

/** With its `?`; "" where there is none. */
export function queryOf(url: string): string {
  const start = url.indexOf("?");
  if (start < 0) return "";
  const fragment = url.indexOf("#");
  if (fragment < 0) return url.slice(start);
  return fragment < start ? "" : url.slice(start, fragment);
}

/** The decoded path; undefined where it must be refused. */
export function decodePath(raw: string): string | undefined {
  if (!raw.startsWith("/") || raw.length > pathCharsMax) return undefined;
  let path = raw;
  if (raw.includes("%")) {
    // Two hex digits after each `%`; never an encoded `/` or `\`.
    if (/%(?![0-9a-fA-F]{2})|%2f|%5c/i.test(raw)) return undefined;
    try {
      // Refuses overlong forms, surrogates and all else that is not UTF-8.
      path = decodeURIComponent(raw);
    } catch {
      return undefined;
    }
  }
  // Control characters (NUL is one), backslashes, and replacement characters that stand for what was no UTF-8.
  // oxlint-disable-next-line no-control-regex -- they are what must be refused
  if (/[\0-\x1f\x7f\\\ufffd]/.test(path) || !path.isWellFormed()) return undefined;
  if (/\/\.\.?(\/|$)/.test(path)) return undefined;
  return path;
}

/** Whether a name in the path begins with a dot; `/.well-known` (RFC 8615) is none of these. */
export function isHidden(path: string): boolean {
  if (!path.includes("/.")) return false;
  const rest = path === "/.well-known" || path.startsWith("/.well-known/") ? path.slice(12) : path;
  return rest.includes("/.");
}

/** A decoded path as it may stand in a Location header. Never begins with `//`, which would name another host. */
export function encodePath(path: string): string {
  return encodeURI(path)
    .replaceAll(/[?#]/g, encodeURIComponent)
    .replace(/^\/{2,}/, "/");
}
