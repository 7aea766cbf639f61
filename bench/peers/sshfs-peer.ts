/**
 * sshfs over a server of its own on loopback: one copy of the files, on a directory of this machine. Attributes are not
 * cached, as in gluster-peer.ts. Null where sshfs or sshd is not installed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../test/tools/free-port.ts";
import { atEnd, checkBeginning } from "../endings.ts";
import { sleep } from "../lib.ts";
import type { MountedPeer } from "./gluster-peer.ts";

const sshd = "/usr/sbin/sshd";

export async function openSshfsPeer(): Promise<MountedPeer | null> {
  if (!existsSync(sshd) || spawnSync("sshfs", ["--version"]).status !== 0 || process.getuid?.() !== 0)
    return null;
  checkBeginning();
  const base = mkdtempSync(join(tmpdir(), "dvs-sshfs-"));
  const dir = join(base, "mount");
  let server: ChildProcess | null = null;
  const close = atEnd(async () => {
    // Also where somebody is in it yet. sshfs ends with its mount, and ssh with that.
    spawnSync("umount", ["-l", dir], { stdio: "ignore" });
    server?.kill("SIGTERM");
    await sleep(300);
    rmSync(base, { recursive: true, force: true });
  });
  const files = join(base, "files");
  mkdirSync(dir);
  mkdirSync(files);
  for (const key of ["host", "user"])
    spawnSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", join(base, key)]);
  spawnSync("cp", [join(base, "user.pub"), join(base, "authorized")]);
  // Where its package has not made it.
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const port = await freePort();
  writeFileSync(
    join(base, "sshd.conf"),
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${join(base, "host")}`,
      `AuthorizedKeysFile ${join(base, "authorized")}`,
      `PidFile ${join(base, "pid")}`,
      "PermitRootLogin prohibit-password",
      "StrictModes no",
      "UsePAM no",
      "Subsystem sftp internal-sftp",
      "",
    ].join("\n"),
  );
  server = spawn(sshd, ["-D", "-f", join(base, "sshd.conf")], { stdio: "ignore" });
  try {
    for (let i = 0; !(await answers(port)); i++) {
      if (i === 50) throw new Error("sshd does not answer");
      await sleep(100);
    }
    const options = [
      `port=${port}`,
      `IdentityFile=${join(base, "user")}`,
      "StrictHostKeyChecking=no",
      "UserKnownHostsFile=/dev/null",
      // The fastest of its ciphers on processors of today.
      "Ciphers=aes128-gcm@openssh.com",
      "Compression=no",
      "dir_cache=no",
      "attr_timeout=0",
      "entry_timeout=0",
    ];
    const mounted = spawnSync("sshfs", [`root@127.0.0.1:${files}`, dir, "-o", options.join(",")], {
      encoding: "utf8",
      timeout: 30_000,
    });
    if (mounted.status !== 0) throw new Error(`sshfs: ${mounted.stderr}`);
    return { dir, close };
  } catch (e) {
    await close();
    throw e;
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
