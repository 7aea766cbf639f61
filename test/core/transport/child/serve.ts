/** A server in a process of its own, with whatever environment; says how it treated strangers. */
import { nodeUri } from "../../../../core/trust/identity.ts";
import { DvsError } from "../../../../core/errors.ts";
import { authority, issued } from "../../trust/lab.ts";
import { world } from "../link.ts";

const w = await world();
const { address } = await w.serve();
const code = (request: Promise<Response>) =>
  request.then(
    (r) => `answered ${r.status}`,
    (e: unknown) => DvsError.from(e).code,
  );
const get = { method: "GET", path: "/" };
const none = await code(w.client(address, { identity: () => undefined }).request(get));
const identity = await issued(await authority(), nodeUri("c1", "n1"));
const rogue = await code(w.client(address, { identity }).request(get));
console.log(`none: ${none}, rogue: ${rogue.startsWith("UNA") ? "refused" : rogue}`);
await w.end();
