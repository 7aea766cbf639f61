/** `--os web`: a static site out of the instance's image, or of its volume, the same on every node. */
import { DvsError } from "../../core/errors.ts";
import type { ImageReader, Vos, VosHost, VosPlugin } from "../../core/vos.ts";
import { ImageSource } from "./image-source.ts";
import { WebOptions } from "./options.ts";
import { Site } from "./site.ts";

const web: VosPlugin<typeof WebOptions> = {
  name: "web",
  summary: "serves a static site out of its image",
  options: WebOptions,
  image: "required",
  // Its containers tell each other how busy they are. Answers out of an image depend on nothing else.
  needs: ({ files }) =>
    files === "volume" ? { kernel: true, state: true } : { kernel: true, servesFrozen: true },
  async boot(host, options) {
    const { image } = host;
    if (!image) throw new DvsError("INVALID", `Cannot boot "${host.instance}": OS web needs an image.`);
    return options.files === "volume"
      ? bootOnVolume(host, image, options)
      : bootOnImage(host, image, options);
  },
};

function bootOnImage(host: VosHost, image: ImageReader, options: WebOptions): Vos {
  const source = new ImageSource(image, options);
  const { spaFallback } = options;
  const fallback = spaFallback === null ? null : source.find(spaFallback);
  if (spaFallback !== null && (fallback === null || fallback === "directory")) {
    throw new DvsError(
      "INVALID",
      `Cannot boot "${host.instance}": spaFallback is ${spaFallback}, and the image has no such file.`,
    );
  }
  return new Site(host, source, options);
}

/** What is there may come later, and go: nothing of it is demanded. */
async function bootOnVolume(host: VosHost, image: ImageReader, options: WebOptions): Promise<Vos> {
  const { state } = host;
  if (!state)
    throw new DvsError("INVALID", `Cannot boot "${host.instance}": it has no state to keep files in.`);
  const [{ VolumeSource }, { tagsOf }] = await Promise.all([
    import("./volume/volume-source.ts"),
    import("./volume/tag.ts"),
  ]);
  await state.seedFiles(image);
  const tagOf = tagsOf(host.uid);
  const source = new VolumeSource(state.files, tagOf, options);
  const { uploads } = options;
  if (!uploads) return new Site(host, source, options);
  const { Uploads } = await import("./dav/uploads.ts");
  const report = (message: string, e: unknown): void =>
    host.log("warn", message, { error: DvsError.from(e).message });
  return new Site(
    host,
    source,
    options,
    new Uploads({ fs: state.files, tagOf, options: { ...options, uploads }, report }),
  );
}

export default web;
