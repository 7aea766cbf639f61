import { describe, expect, test } from "bun:test";
import { place, type PlacementNode, type PlacementRequest } from "../../../core/control/placement.ts";
import { unschedulable } from "../../../core/control/unschedulable.ts";

/** `n1 n2:drain n3:down n4:lost n5:leave n6:unknown n7:ssd n8:2/2` */
function nodes(text: string): Map<string, PlacementNode> {
  const parse = (word: string): PlacementNode => {
    const [id = "", ...marks] = word.split(":");
    const has = (mark: string) => marks.includes(mark);
    const [, used = "0", max = "0"] = marks.map((m) => /^(\d+)\/(\d+)$/.exec(m)).find(Boolean) ?? [];
    return {
      id,
      state: has("down") || has("lost") ? "down" : has("unknown") ? "unknown" : "up",
      lost: has("lost"),
      draining: has("drain") || has("leave"),
      leaving: has("leave"),
      labels: has("ssd") ? { disk: "ssd" } : {},
      containers: Number(used),
      containersMax: Number(max),
    };
  };
  return new Map(text.split(" ").map((word) => [parse(word).id, parse(word)]));
}

/** `3: n1 n2!` asks for three nodes, is on n1 and n2, of which n2 is ready. */
function request(text: string): PlacementRequest {
  const [wanted = "", rest = ""] = text.split(":");
  const words = rest.trim().split(" ").filter(Boolean);
  const ready = new Set(words.filter((w) => w.endsWith("!")).map((w) => w.slice(0, -1)));
  const current = words.map((w) => w.replace("!", ""));
  return {
    wanted: Number(wanted),
    on: {},
    current,
    impatient: false,
    allOrNothing: current.length === 0,
    ready: (id) => ready.has(id),
    mayServe: (id) => ready.has(id),
  };
}

describe("place", () => {
  const cases: [what: string, request: string, nodes: string, placement: string, missing?: number][] = [
    ["takes the emptiest nodes, of equals the first", "2:", "n1:1/0 n2:0/0 n3:0/0 n4:2/0", "n2 n3"],
    ["places a new instance on all of its nodes or none", "3:", "n1 n2", "", 1],
    [
      "takes no node that drains, is down or was never heard of",
      "1:",
      "n1:drain n2:down n3:unknown n4",
      "n4",
    ],
    ["takes no full node", "1:", "n1:2/2 n2:1/2", "n2"],
    ["moves nothing that is well placed", "2: n3 n4", "n1:0/0 n2:0/0 n3:5/0 n4:5/0", "n3 n4"],
    ["keeps a node that is down", "2: n1! n2", "n1 n2:down n3", "n1 n2"],
    ["replaces a lost node", "2: n1! n2", "n1 n2:lost n3", "n1 n3"],
    ["keeps a lost node that nobody can replace", "2: n1! n2", "n1 n2:lost n3:drain", "n1 n2", 1],
    [
      "keeps one of two lost nodes when one is replaced",
      "3: n1! n2 n3",
      "n1 n2:lost n3:lost n4",
      "n1 n2 n4",
      1,
    ],
    ["forgets a node that is no more", "2: n1! n9", "n1 n2", "n1 n2"],
    ["places a running instance on what there is", "3: n1!", "n1 n2", "n1 n2", 1],
    ["lets a draining node serve until another does", "2: n1! n2!", "n1 n2:drain n3", "n1 n2 n3"],
    ["ends a drain when enough serve", "2: n1! n2! n3!", "n1 n2:drain n3", "n1 n3"],
    [
      "takes a container that does not serve off a draining node at once",
      "2: n1! n2",
      "n1 n2:drain n3",
      "n1 n3",
    ],
    ["lets a draining node be when nobody takes over", "2: n1! n2!", "n1 n2:drain", "n1 n2", 1],
    ["takes a leaving node out although nobody takes over", "2: n1! n2!", "n1 n2:leave", "n1", 1],
    ["leaves the last container that serves", "2: n1 n2!", "n1 n2:leave", "n1 n2", 1],
    ["does not keep a leaving node that is lost", "2: n1! n2", "n1 n2:leave:lost", "n1", 1],
    ["undoes the overlap of a drain that was taken back", "2: n1! n2! n3", "n1 n2 n3", "n1 n2"],
    ["gives up first what is down, then what is not ready", "1: n1 n2 n3!", "n1:down n2 n3", "n3"],
  ];
  for (const [what, asked, given, placement, missing = 0] of cases) {
    test(what, () => {
      expect(place(request(asked), nodes(given))).toEqual({
        placement: placement.split(" ").filter(Boolean),
        missing,
      });
    });
  }

  test("takes only nodes with all the labels, and keeps a place when the label is taken away", () => {
    const on = { disk: "ssd" };
    expect(place({ ...request("1:"), on }, nodes("n1 n2:ssd")).placement).toEqual(["n2"]);
    expect(place({ ...request("1: n1!"), on }, nodes("n1 n2:ssd")).placement).toEqual(["n1"]);
  });

  test("does not wait for a node that is down when nothing has served yet", () => {
    const asked = { ...request("2: n1 n2"), impatient: true };
    expect(place(asked, nodes("n1 n2:down n3")).placement).toEqual(["n1", "n3"]);
    expect(place(asked, nodes("n1 n2:down")).placement).toEqual(["n1", "n2"]);
  });
});

describe("the reason why something is pending", () => {
  const cases: [request: string, on: Record<string, string>, nodes: string, message: string][] = [
    ["3:", {}, "n1 n2", "needs 3 nodes, 2 are up"],
    ["2:", {}, "n1 n2:down", "needs 2 nodes, 1 is up"],
    ["4:", {}, "n1 n2 n3 n4:drain", "needs 4 nodes, 4 are up, 1 of 4 nodes is draining"],
    ["3:", { disk: "ssd" }, "n1 n2:ssd n3:ssd", "needs 3 nodes, 3 are up, 2 match on disk=ssd"],
    ["1:", { disk: "ssd" }, "n1", "needs 1 node, 1 is up, 0 match on disk=ssd"],
    ["2:", {}, "n1 n2:3/3", "needs 2 nodes, 2 are up, 1 has no room for another container"],
  ];
  for (const [asked, on, given, message] of cases) {
    test(message, () => {
      expect(unschedulable({ ...request(asked), on }, nodes(given))).toEqual({
        reason: "unschedulable",
        message,
      });
    });
  }
});
