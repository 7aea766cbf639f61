/** `--os web`: a static site out of the instance's image, the same on every node. */
import { DvsError } from "../../core/errors.ts";
import type { VosPlugin } from "../../core/vos.ts";
import { fileAt } from "./locate.ts";
import { WebOptions } from "./options.ts";
import { Site } from "./site.ts";

const web: VosPlugin<typeof WebOptions> = {
  name: "web",
  summary: "serves a static site out of its image",
  options: WebOptions,
  image: "required",
  // Its containers tell each other how busy they are; every answer comes out of the image.
  needs: { kernel: true, servesFrozen: true },
  async boot(host, options) {
    const { image } = host;
    if (!image) throw new DvsError("INVALID", `Cannot boot "${host.instance}": OS web needs an image.`);
    if (options.spaFallback !== null && !fileAt(image, options.spaFallback)) {
      throw new DvsError(
        "INVALID",
        `Cannot boot "${host.instance}": spaFallback is ${options.spaFallback}, and the image has no such file.`,
      );
    }
    return new Site(host, image, options);
  },
};

export default web;
