import { expect, test } from "bun:test";
import { array, assert, boolean, nat, property, tuple } from "fast-check";
import { type Place, WaitingLine } from "../../../core/ingress/waiting-line.ts";

const since = { ms: 0, count: 0 };

function names(line: WaitingLine<string>): string {
  const out: string[] = [];
  for (let place = line.first; place; place = place.next) out.push(place.waiter);
  return out.join(" ");
}

function lineOf(text: string): { line: WaitingLine<string>; places: Map<string, Place<string>> } {
  const line = new WaitingLine<string>();
  const places = new Map(text.split(" ").map((name, i) => [name, line.add(name, i * 10, since, 0)]));
  return { line, places };
}

test("those that come wait behind the others", () => {
  expect(names(lineOf("a b c").line)).toBe("a b c");
});

test("one that comes back stands where it stood", () => {
  const { line, places } = lineOf("a b c d");
  line.remove(places.get("a")!);
  line.remove(places.get("c")!);
  line.add("c", 20, since, 0);
  expect(names(line)).toBe("b c d");
  line.add("a", 0, since, 0);
  expect(names(line)).toBe("a b c d");
});

test("anyone may leave, also while the line is walked along", () => {
  const { line, places } = lineOf("a b c");
  line.remove(places.get("b")!);
  expect(names(line)).toBe("a c");
  for (let place = line.first; place; place = place.next) line.remove(place);
  expect([names(line), line.size]).toEqual(["", 0]);
  line.add("d", 99, since, 0);
  expect(names(line)).toBe("d");
});

test("the order is that of arrival, whoever comes and goes", () => {
  assert(
    property(array(tuple(boolean(), nat(50))), (steps) => {
      const line = new WaitingLine<number>();
      const model = new Map<number, Place<number>>();
      for (const [adds, n] of steps) {
        const place = model.get(n);
        if (adds && !place) model.set(n, line.add(n, n, since, 0));
        else if (!adds && place) {
          line.remove(place);
          model.delete(n);
        }
        const found: number[] = [];
        for (let at = line.first; at; at = at.next) found.push(at.waiter);
        expect(found).toEqual([...model.keys()].toSorted((a, b) => a - b));
        expect(line.size).toBe(model.size);
      }
    }),
  );
});
