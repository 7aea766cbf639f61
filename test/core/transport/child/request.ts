/** Sends one request as told on stdin; prints its status, or the code of its error. */
import { readFileSync } from "node:fs";
import { DvsError } from "../../../../core/errors.ts";
import { createClient } from "../../../../core/transport/client.ts";

const { address, trust, identity } = JSON.parse(readFileSync(0, "utf8"));
const client = createClient({ addresses: [address], trust, identity });
try {
  console.log((await client.request({ method: "GET", path: "/" })).status);
} catch (e) {
  console.log(`${DvsError.from(e).code}: ${DvsError.from(e).message}`);
}
client.close();
