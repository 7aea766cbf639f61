import { expect, test } from "bun:test";
import { array, assert, boolean, nat, property, record } from "fast-check";
import { Call, callKinds } from "../../../core/kernel/call.ts";
import { CallTable } from "../../../core/kernel/call-table.ts";

function call(number: number): Call {
  const made = new Call(callKinds.request, null, 1, 2, 0, null, 0);
  made.number = number;
  return made;
}

test("a table of calls holds what a Map would, however long some of them live", () => {
  const step = record({ add: boolean(), pick: nat(40) });
  assert(
    property(array(step, { maxLength: 200 }), (steps) => {
      const table = new CallTable();
      const model = new Map<number, Call>();
      let last = 0;
      for (const { add, pick } of steps) {
        // Now and then one is replaced by another of the same number, as when its process has moved.
        const number = add && pick > 2 ? ++last : Math.max(1, last - pick);
        if (add) {
          const added = call(number);
          table.set(number, added);
          model.set(number, added);
        } else expect(table.delete(number)).toBe(model.delete(number));
        expect(table.size).toBe(model.size);
        for (let n = 0; n <= last; n++) expect(table.get(n)).toBe(model.get(n));
      }
      expect(table.values().map(({ number }) => number)).toEqual([...model.keys()].sort((a, b) => a - b));
    }),
  );
});
