/** Where etcd is on this machine, and what it can do. */
import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { DvsError } from "../../errors.ts";

export interface EtcdBinary {
  path: string;
  /** Flags that only some versions have. */
  flags: string[];
}

/** Checked against the connection's source address, which on a machine with several addresses is any of them. */
const sanFlag = /--((?:experimental-)?peer-skip-client-san-verification)\b/;

/** Rejects with FAILED and how to install it when there is none on PATH. */
export async function findEtcd(path = process.env["PATH"] ?? ""): Promise<EtcdBinary> {
  for (const dir of path.split(delimiter)) {
    const file = join(dir, "etcd");
    try {
      accessSync(file, constants.X_OK);
    } catch {
      continue;
    }
    const { stdout, stderr } = await promisify(execFile)(file, ["--help"]).catch((e: unknown) => {
      throw new DvsError("FAILED", `Cannot use ${file}: "etcd --help" fails.`, { cause: e });
    });
    const found = sanFlag.exec(stdout + stderr);
    return { path: file, flags: found ? [`--${found[1]}`] : [] };
  }
  throw new DvsError(
    "FAILED",
    "Cannot start with --ha: there is no etcd on this machine's PATH. Install it (Debian, Ubuntu: apt install " +
      "etcd-server; its own service is not needed: systemctl disable --now etcd), or give --store etcd://… of one that runs.",
  );
}
