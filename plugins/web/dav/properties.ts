/** Live properties (RFC 4918 section 15, RFC 4331): each from what the volume says; null where a thing has not got it. */
import { type Attributes, isDirectory } from "../../../core/files/attributes.ts";
import type { FileSystemUsage } from "../../../core/files/file-system.ts";
import type { DavContext } from "./context.ts";
import { escapeXml } from "./xml.ts";

export interface Described {
  path: string;
  attributes: Attributes;
  /** Where it is asked for. */
  usage: FileSystemUsage | null;
}

type Value = (of: Described, context: DavContext) => string | null;

const ofFile =
  (value: Value): Value =>
  (of, context) =>
    isDirectory(of.attributes) ? null : value(of, context);

export const liveProperties = {
  resourcetype: ({ attributes }) => (isDirectory(attributes) ? "<D:collection/>" : ""),
  displayname: ({ path }) => escapeXml(path.slice(path.lastIndexOf("/") + 1)),
  getcontentlength: ofFile(({ attributes }) => String(attributes.size)),
  getcontenttype: ofFile(({ path }, context) => escapeXml(context.contentType(path))),
  getetag: ofFile(({ attributes }, { tagOf }) => `"${tagOf(attributes)}"`),
  getlastmodified: ({ attributes }) => new Date(attributes.mtime.seconds * 1000).toUTCString(),
  supportedlock: () => "",
  "quota-used-bytes": ({ usage }) => (usage ? String(usage.bytes) : null),
  "quota-available-bytes": ({ usage }) =>
    usage ? String(Math.max(0, Math.min(usage.bytesMax - usage.bytes, usage.bytesFree))) : null,
} satisfies Record<string, Value>;
export type LiveProperty = keyof typeof liveProperties;

/** What `allprop` tells: not the quota (RFC 4331 section 2). */
export const allProperties = (Object.keys(liveProperties) as LiveProperty[]).filter(
  (name) => !name.startsWith("quota-"),
);
