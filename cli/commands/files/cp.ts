import { stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Api } from "../../../core/api/client.ts";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { placeText, type RemotePlace, remotePlace } from "../../file-place.ts";
import { writeJson } from "../../output.ts";
import type { CopyOptions } from "../../copy/upload.ts";

export default command({
  args: {
    places: {
      type: "positional",
      required: true,
      many: true,
      description: "What is copied, and where to last: INSTANCE:/path, or a path of this machine",
    },
    archive: { type: "boolean", short: "a", description: "Keep owners, too" },
    force: { type: "boolean", short: "f", description: "Copy also what seems to be there already" },
    ...outputArgs,
    ...clientArgs,
  },
  details:
    "Files, and directories with all that is in them; into the last one where that is a directory. A directory that is\n" +
    "written with /. at its end is copied without its name. Modes, times and symbolic links are kept.\n" +
    "Interrupted, it goes on with the same command: what has the same size and time is left out, and a large file goes on\n" +
    "where it was. A file has its name only when it is whole; until then it is .NAME.xxxxxxxx.part.\n" +
    "A file that cannot be copied does not end the others; the exit code is that of the first.",
  examples: [
    ["dvs cp ./site/. web:/srv/www", "what is in a directory"],
    ["dvs cp web:/var/log .", "a directory, as ./log"],
    ["dvs cp a.txt b.txt web:/tmp/", "several files"],
  ],
  async run({ args, io, words }) {
    const sources = args.places.slice(0, -1);
    const last = args.places.at(-1)!;
    if (sources.length === 0) {
      throw new DvsError(
        "INVALID",
        `missing where to copy ${last}: accepted: INSTANCE:/path, or a path of this machine`,
      );
    }
    const to = remotePlace(last);
    const from = sources.map((source) => remotePlace(source));
    if (to ? from.some((place) => place !== null) : from.some((place) => place === null)) {
      throw new DvsError(
        "INVALID",
        "Cannot copy between two files of this machine, or of instances: either all sources or the last is of an instance.",
      );
    }
    const [{ Tally }, { Upload }, { Download }] = await Promise.all([
      import("../../copy/tally.ts"),
      import("../../copy/upload.ts"),
      import("../../copy/download.ts"),
    ]);
    const tally = new Tally(io, words);
    await withApi(args, io, async (api) => {
      const { archive, force } = args;
      const options: CopyOptions = { api, tally, signal: io.signal, archive, force };
      try {
        if (to) {
          const upload = new Upload(to.instance, options);
          for (const source of sources) {
            const target = await remoteTarget(
              api,
              resolve(io.cwd, source),
              source,
              to,
              sources.length,
              io.signal,
            );
            await upload.copy(resolve(io.cwd, source), target.path, target.there);
          }
          await upload.end();
        } else {
          for (const place of from as RemotePlace[]) {
            const download = new Download(place.instance, options);
            const target = await localTarget(
              api,
              place,
              resolve(io.cwd, last),
              last,
              sources.length,
              io.signal,
            );
            await download.copy(place.path, target.entry, target.to);
            await download.end();
          }
        }
      } finally {
        tally.end();
      }
    });
    if (args.output === "json") writeJson(io, tally.json);
    if (tally.code) throw new DvsError(tally.code, `Not all was copied: ${tally.text}.`);
    if (args.output !== "json") words.success(tally.text);
  },
});

/** As docker cp and cp do: into a directory that is there, else under the name that was given. */
async function remoteTarget(
  api: Pick<Api, "files">,
  from: string,
  given: string,
  to: RemotePlace,
  sources: number,
  signal: AbortSignal,
) {
  const { remoteEntry, under } = await import("../../copy/remote-tree.ts");
  const isDirectory = (await stat(from).catch(() => null))?.isDirectory() ?? false;
  const there = await remoteEntry(api, to, signal);
  const path = to.path.length > 1 ? to.path.replace(/\/+$/, "") : to.path;
  if (there?.kind === "directory") {
    if (isDirectory && /(^|\/)\.$/.test(given)) return { path, there };
    const into = under(path, basename(from));
    return { path: into, there: await remoteEntry(api, { ...to, path: into }, signal, false) };
  }
  checkAlone(placeText(to), sources, there !== null, isDirectory, to.path.endsWith("/"));
  return { path, there };
}

async function localTarget(
  api: Pick<Api, "files">,
  from: RemotePlace,
  to: string,
  given: string,
  sources: number,
  signal: AbortSignal,
) {
  const { attempted } = await import("../../copy/attempts.ts");
  const isContent = from.path.endsWith("/.");
  const path = isContent ? from.path.slice(0, -1) : from.path;
  // Of a link the link, unless it is written with a slash behind it.
  const found = await attempted(
    () => api.files.attributes(from.instance, path, { follow: path.endsWith("/") }),
    signal,
  );
  const there = await stat(to).catch(() => null);
  if (there?.isDirectory() && !isContent) {
    // Of the root there is no name.
    return { entry: found, to: found.name === "/" ? to : join(to, found.name) };
  }
  if (!there?.isDirectory()) {
    checkAlone(given, sources, there !== null, found.kind === "directory", given.endsWith("/"));
  }
  return { entry: found, to };
}

/** Throws where what is copied cannot have the very name that was given. */
function checkAlone(
  to: string,
  sources: number,
  isThere: boolean,
  isDirectory: boolean,
  hasSlash: boolean,
): void {
  const wantsDirectory = sources > 1 || (hasSlash && !isDirectory);
  if (wantsDirectory && isThere) throw new DvsError("INVALID", `Cannot copy into ${to}: it is no directory.`);
  if (wantsDirectory) throw new DvsError("NOT_FOUND", `Cannot copy into ${to}: there is no such directory.`);
  if (isThere && isDirectory) {
    throw new DvsError("CONFLICT", `Cannot copy a directory to ${to}: there is a file.`);
  }
}
