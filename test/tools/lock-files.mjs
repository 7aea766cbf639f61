// package-lock.json is npm's, bun.lock is Bun's; both are committed and must mean the same.
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Every disagreement, in words; an empty list when there is none. */
export function lockMistakes(root) {
  const read = (file) => readFileSync(join(root, file), "utf8");
  return compareLocks(
    JSON.parse(read("package.json")),
    JSON.parse(read("package-lock.json")),
    read("bun.lock"),
  );
}

export function compareLocks(manifest, npmLock, bunLock) {
  const mistakes = [];
  const declared = { ...manifest.dependencies, ...manifest.devDependencies };
  const own = npmLock.packages?.[""] ?? {};
  const npmDeclared = { ...own.dependencies, ...own.devDependencies };
  for (const name of new Set([...Object.keys(declared), ...Object.keys(npmDeclared)])) {
    if (declared[name] !== npmDeclared[name]) {
      mistakes.push(
        `package-lock.json was made for ${name}@${npmDeclared[name]}, package.json says ${declared[name]}: npm install`,
      );
    }
  }
  mistakes.push(...missingOptionals(npmLock));
  const optional = new Set(optionalsOf(npmLock).map(([name]) => name));
  const npm = versionsOf(
    Object.entries(npmLock.packages ?? {}).flatMap(([path, { version }]) => named(path, version)),
  );
  const bun = versionsOf(parseBunLock(bunLock));
  for (const name of new Set([...npm.keys(), ...bun.keys()])) {
    const [n, b] = [npm.get(name) ?? "none", bun.get(name) ?? "none"];
    // Binaries for other platforms: a registry that has not all of them keeps them out of bun.lock, which Bun allows.
    if (optional.has(name) && b === "none") continue;
    if (n !== b)
      mistakes.push(`${name}: package-lock.json has ${n}, bun.lock has ${b}: npm install && bun install`);
  }
  return mistakes;
}

/** `npm ci` refuses a lock file that has no entry for each optional package, also those of other platforms. */
function missingOptionals(npmLock) {
  return optionalsOf(npmLock)
    .filter(([name]) => !Object.keys(npmLock.packages).some((path) => path.endsWith(`node_modules/${name}`)))
    .map(
      ([name, version]) =>
        `package-lock.json has no entry for the optional ${name}@${version}: npm ci will refuse it`,
    );
}

function optionalsOf(npmLock) {
  return Object.values(npmLock.packages ?? {}).flatMap((p) => Object.entries(p.optionalDependencies ?? {}));
}

/** Lines of `packages` in bun.lock: `"name": ["name@version", …`. */
function parseBunLock(text) {
  return [...text.matchAll(/^ {4}"[^"]+": \["(@?[^@"]+)@([^"]+)"/gm)].map(([, name, version]) => [
    name,
    version,
  ]);
}

function named(path, version) {
  const at = path.lastIndexOf("node_modules/");
  return at < 0 || version === undefined ? [] : [[path.slice(at + "node_modules/".length), version]];
}

function versionsOf(pairs) {
  const versions = new Map();
  for (const [name, version] of pairs) versions.set(name, new Set([...(versions.get(name) ?? []), version]));
  return new Map(
    [...versions].map(([name, set]) => [name, [...set].sort((a, b) => (a < b ? -1 : 1)).join(", ")]),
  );
}
