// What bun test's junit report says. Counted from the cases, since its totals leave out files that did not load.

/**
 * @param {string} xml
 * @returns {{passed: number, failed: {name: string, file: string}[], skipped: {name: string, file: string}[]}}
 */
export function readJunit(xml) {
  /** @type {ReturnType<typeof readJunit>} */
  const result = { passed: 0, failed: [], skipped: [] };
  for (const [, attributes, rest] of xml.matchAll(/<testcase\b([^>]*?)(\/>|>[\s\S]*?<\/testcase>)/g)) {
    const suites = attribute(attributes, "classname");
    const own = attribute(attributes, "name");
    const test = {
      name: suites && suites !== own ? `${suites} > ${own}` : own,
      file: attribute(attributes, "file"),
    };
    if (/<(failure|error)\b/.test(rest)) result.failed.push(test);
    else if (/<skipped\b/.test(rest)) result.skipped.push(test);
    else result.passed++;
  }
  return result;
}

function attribute(text, name) {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(text)?.[1] ?? "";
  return value
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&apos;", "'")
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replaceAll("&amp;", "&");
}
