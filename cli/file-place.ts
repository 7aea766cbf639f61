/** Where a file is, as people write it: `INSTANCE:/path`, or a path of this machine. */
import { DvsError } from "../core/errors.ts";
import { Name } from "../core/names.ts";

export interface RemotePlace {
  instance: string;
  /** Begins with "/". */
  path: string;
}

/**
 * Null: a path of this machine. One with a colon in its first name is written with "/" or "./" before it. Throws
 * INVALID for what names no instance.
 */
export function remotePlace(text: string): RemotePlace | null {
  const colon = text.indexOf(":");
  const slash = text.indexOf("/");
  if (colon < 0 || (slash >= 0 && slash < colon)) return null;
  const instance = text.slice(0, colon);
  if (!Name.safeParse(instance).success) {
    throw new DvsError(
      "INVALID",
      `bad place "${text}": "${instance}" is no instance's name; a file of this machine is written ./${text}`,
    );
  }
  const path = text.slice(colon + 1);
  return { instance, path: path.startsWith("/") ? path : `/${path}` };
}

/** For commands whose files are all in instances. Throws INVALID. */
export function givenPlace(text: string): RemotePlace {
  const place = remotePlace(text);
  if (place) return place;
  throw new DvsError("INVALID", `bad place "${text}": accepted: INSTANCE:/path`);
}

export function placeText({ instance, path }: RemotePlace): string {
  return `${instance}:${path}`;
}
