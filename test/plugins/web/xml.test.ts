/** The XML of WebDAV: what is read of it, and that nothing expands in it. */
import { describe, expect, test, setDefaultTimeout } from "bun:test";
import * as fc from "fast-check";
import { parseXml, type XmlElement } from "../../../plugins/web/dav/parse-xml.ts";
import { element, escapeXml } from "../../../plugins/web/dav/xml.ts";

/** Others may need the processor. */
setDefaultTimeout(60_000);

/** `{space}name(children)` */
function told({ space, name, children }: XmlElement): string {
  return `{${space}}${name}${children.length > 0 ? `(${children.map(told).join(" ")})` : ""}`;
}

describe("parseXml", () => {
  test.each([
    ["<a/>", "{}a"],
    ['<?xml version="1.0" encoding="utf-8"?>\n<a></a>\n', "{}a"],
    ["\ufeff<a/>", "{}a"],
    ['<a xmlns="DAV:"><b/><c xmlns=""/></a>', "{DAV:}a({DAV:}b {}c)"],
    ['<x:a xmlns:x="u1"><x:b xmlns:x="u2"><x:c/></x:b><x:d/></x:a>', "{u1}a({u2}b({u2}c) {u1}d)"],
    ["<a b='>' c=\"'\">text &amp; &#x41;<!-- <b> --><![CDATA[<b>]]><?p <b>?></a>", "{}a"],
    ['<a xmlns="a&amp;b&#65;"/>', "{a&bA}a"],
    ["<a ><b\n/></a >", "{}a({}b)"],
  ])("%s", (text, expected) => {
    const root = parseXml(text);
    expect(root && told(root)).toBe(expected);
  });
  test.each([
    ["", "nothing"],
    ["text", "no element"],
    ["<a>", "open"],
    ["</a>", "closed before it opens"],
    ["<a></b>", "closed by another"],
    ["<a/><b/>", "two roots"],
    ["<a/>text", "text behind"],
    ["<a", "half a tag"],
    ["<a b/>", "an attribute without value"],
    ["<a b=c/>", "a value without quotes"],
    ['<a b="<"/>', "a tag within a value"],
    ['<a b="1" b="2"/>', "an attribute twice"],
    ["<x:a/>", "an unknown prefix"],
    ['<x:a xmlns:x=""/>', "an undeclared prefix"],
    ["<a>&b;</a>", "an entity of one's own"],
    ["<a>&#0;</a>", "NUL"],
    ["<a>&#xd800;</a>", "half a character"],
    ["<a>&amp</a>", "an open entity"],
    ["<a>\u0001</a>", "a control character"],
    ["<!DOCTYPE a><a/>", "a document type"],
    ['<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "a document type with an entity"],
    ["<a><!ELEMENT b></a>", "a declaration"],
    ["<a><!-- </a>", "an open comment"],
    ["<1/>", "a name that is none"],
    ["<a:b:c/>", "a name of three parts"],
    ["<a>".repeat(17) + "</a>".repeat(17), "a deep tree"],
    [`<a>${"<b/>".repeat(1_100)}</a>`, "many elements"],
  ])("refuses %s (%s)", (text) => {
    expect(parseXml(text)).toBeNull();
  });
  test("whatever comes, it is read or refused", () => {
    const piece = fc.constantFrom(
      "<",
      ">",
      "/",
      "a",
      "=",
      '"',
      "'",
      "&",
      ";",
      "#",
      "!",
      "-",
      "[",
      "]",
      "?",
      " ",
      "xmlns",
      ":",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        parseXml(pieces.join(""));
        parseXml(`<a>${pieces.join("")}</a>`);
      }),
    );
  });
  test("a long text costs no more than its length", () => {
    for (const part of ["<a ", "<a b='", "&", "<!--", "<a>&", "<a xmlns:a='&", " "]) {
      // What is worse than linear would end with the test's time.
      expect(parseXml(`<x>${part.repeat(64_000 / part.length)}`)).toBeNull();
    }
  });
});

test("what is written is read as the same, whatever it is", () => {
  const space = fc.string({ minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(space, (text) => {
      // oxlint-disable-next-line no-control-regex -- XML cannot say them, and attributes fold these
      const sayable = text.replaceAll(/[\0-\x1f\ufffe\uffff]/g, "x");
      const root = parseXml(
        `<D:r xmlns:D="DAV:">${element({ space: sayable, name: "n" }, escapeXml(sayable))}</D:r>`,
      );
      expect(root?.children).toEqual([{ space: sayable, name: "n", children: [] }]);
    }),
  );
});
