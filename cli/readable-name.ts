/** Names for instances that got none: easy to say, to type and to tell apart. */
import { randomInt } from "node:crypto";

const first =
  "amber bold brave brisk calm clear cool crisp deft eager early fair fine fleet fresh glad keen kind light lively mild neat noble plain quick quiet rapid ready sharp steady sunny swift tidy warm wise".split(
    " ",
  );
const second =
  "alder ash birch brook cedar cliff cloud coral cove crane delta dune elm falcon fern field finch fjord grove harbor heath heron island lake lark maple meadow moor oak otter pine plover reef ridge river robin spruce stream swan thrush tide vale wren".split(
    " ",
  );

/** `brisk-heron-417`: 1.5 million of them; the coordinator refuses one that is taken. */
export function readableName(pick: (below: number) => number = (below) => randomInt(below)): string {
  return `${first[pick(first.length)]}-${second[pick(second.length)]}-${pick(1_000)}`;
}
