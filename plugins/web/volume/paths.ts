/** Names of the volume in requests' paths. */

/** Uploads that are under way, and what was removed and is being taken apart. Never served, whatever is allowed. */
export const workName = ".dvs-uploads";

/** Of an absolute path, without the slash at its end; null where it could mean the same file as another path. */
export function namesIn(path: string): string[] | null {
  const bare = path.length > 1 && path.endsWith("/") ? path.slice(0, -1) : path;
  if (!bare.startsWith("/")) return null;
  const names = bare === "/" ? [] : bare.slice(1).split("/");
  return names.some((name) => name === "" || name === "." || name === "..") || names[0] === workName
    ? null
    : names;
}
