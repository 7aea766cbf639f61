/** By it the host processes of an instance on this node know each other: drawn once, kept as long as any of them is wanted. */
import { randomBytes } from "node:crypto";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import { type DataDir, instanceDirOf } from "./data-dir.ts";

/** Hex of 32 bytes. Container and state process may ask at the same moment: both get the same. */
export class InstanceSecrets {
  readonly #data: DataDir;
  readonly #asked = new Map<string, Promise<string>>();

  constructor(data: DataDir) {
    this.#data = data;
  }

  of(uid: string): Promise<string> {
    const asked = this.#asked.get(uid) ?? this.#draw(uid);
    this.#asked.set(uid, asked);
    asked.catch(() => this.#asked.delete(uid));
    return asked;
  }

  /** The instance has gone from this node. */
  forget(uid: string): void {
    this.#asked.delete(uid);
  }

  async #draw(uid: string): Promise<string> {
    const dir = instanceDirOf(this.#data, uid);
    const known = await readJsonFile(dir.secret);
    if (typeof known === "string" && /^[0-9a-f]{64}$/.test(known)) return known;
    const secret = randomBytes(32).toString("hex");
    await makePrivateDir(dir.root);
    await writeSmallFile(dir.secret, JSON.stringify(secret), { durable: false });
    return secret;
  }
}
