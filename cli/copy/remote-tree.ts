/** Directories of an instance as a copy looks at them. */
import type { Api } from "../../core/api/client.ts";
import { DvsError } from "../../core/errors.ts";
import type { FileEntryJson } from "../../core/files/remote/ask.ts";
import type { RemotePlace } from "../file-place.ts";
import { attempted } from "./attempts.ts";

/** Null: there is nothing. */
export async function remoteEntry(
  api: Pick<Api, "files">,
  { instance, path }: RemotePlace,
  signal: AbortSignal,
  follow = true,
): Promise<FileEntryJson | null> {
  try {
    return await attempted(() => api.files.attributes(instance, path, { follow }), signal);
  } catch (e) {
    if (e instanceof DvsError && e.code === "NOT_FOUND" && !e.message.startsWith("There is no instance"))
      return null;
    throw e;
  }
}

/** A page at a time. */
export async function* remoteEntries(
  api: Pick<Api, "files">,
  { instance, path }: RemotePlace,
  signal: AbortSignal,
): AsyncGenerator<FileEntryJson> {
  for (let after: number | null = 0; after !== null;) {
    const query = { path, after };
    const page: Awaited<ReturnType<typeof api.files.page>> = await attempted(
      () => api.files.page(instance, query),
      signal,
    );
    yield* page.entries;
    after = page.next;
  }
}

export function under(path: string, name: string): string {
  return `${path.replace(/\/+$/, "")}/${name}`;
}
