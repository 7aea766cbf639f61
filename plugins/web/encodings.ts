/** Which precompressed form a client gets (RFC 9110 section 12.5.3). */

export type Coding = "br" | "zstd" | "gzip";

/** In the order that decides between equal wishes: smallest first. */
export const codings: { coding: Coding; suffix: string }[] = [
  { coding: "br", suffix: ".br" },
  { coding: "zstd", suffix: ".zst" },
  { coding: "gzip", suffix: ".gz" },
];

/** The best of `available`; null: the file as it is, also where the client accepts nothing that there is. */
export function negotiate(acceptEncoding: string | null, available: readonly Coding[]): Coding | null {
  if (acceptEncoding === null || acceptEncoding === "") return null;
  const wishes = parseAcceptEncoding(acceptEncoding);
  const any = wishes.get("*");
  const wish = (coding: string): number => wishes.get(coding) ?? wishes.get(`x-${coding}`) ?? any ?? 0;
  // Unless it is named, the file itself is a last resort, acceptable and never preferred.
  let bestQ = wishes.get("identity") ?? 0;
  let best: Coding | null = null;
  for (const { coding } of codings) {
    const q = wish(coding);
    if (q > 0 && available.includes(coding) && (q > bestQ || (best === null && q >= bestQ))) {
      bestQ = q;
      best = coding;
    }
  }
  return best;
}

function parseAcceptEncoding(header: string): Map<string, number> {
  const wishes = new Map<string, number>();
  for (const item of header.toLowerCase().split(",").slice(0, 32)) {
    const [coding = "", ...parameters] = item.split(";").map((part) => part.trim());
    if (coding === "") continue;
    const q = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2);
    wishes.set(coding, q === undefined ? 1 : /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0);
  }
  return wishes;
}
