import { expect, test } from "vitest";
import { EventParser } from "../api/sse";
import { advise, type Situation } from "./guide";
import { shades, thin } from "./heat";
import { ablateCell, window as columns } from "./lensgrid";
import { describeWhat, positionsFromRanges, rangesFromPositions, readSteeringFile, turned } from "./specs";
import { filterRows, noFilter, type Row, sortRows } from "./table";
import { parseUnit, shortUnit, withPolarity } from "./unitname";
import { verdict } from "./verdict";

test("server-sent events come whole out of any pieces", () => {
  const text = "\uFEFF: hello\r\nevent: token\r\ndata: {\"a\":1}\r\n\r\ndata: x\ndata: y\n\nevent: z\n\n";
  for (const size of [1, 2, 3, 7, 100]) {
    const parser = new EventParser();
    const out = [];
    for (let i = 0; i < text.length; i += size) out.push(...parser.feed(text.slice(i, i + size)));
    expect(out).toEqual([{ event: "token", data: '{"a":1}' }, { event: "message", data: "x\ny" }]);
  }
});

const start: Situation = {
  hasAtlas: true, llm: false, asked: false, answering: false, answered: false, target: null, foil: null, explaining: false, explained: true, clusters: 0,
  checked: false, held: null, steeringOn: 0, steeringOff: 0, steered: false, viewing: "plain", shared: false,
};
test("the guide goes from asking to sharing", () => {
  const first = (part: Partial<Situation>) => advise({ ...start, ...part }).actions[0]?.do;
  const asked = { asked: true, answered: true };
  expect(first({})).toBe("ask-example");
  expect(first(asked)).toBe("explain-first");
  expect(first({ ...asked, target: "x", clusters: 3 })).toBe("check-first");
  expect(advise({ ...start, ...asked, target: "x", explained: false }).title).toBe("Not explained");
  expect(first({ ...asked, target: "x", hasAtlas: false })).toBe("build-atlas");
  expect(first({ ...asked, target: "x", clusters: 3, checked: true, held: true })).toBe("off-first");
  expect(first({ ...asked, target: "x", clusters: 3, checked: true, held: false })).toBe("open-clusters");
  expect(first({ ...asked, steeringOn: 1 })).toBe("run-steered");
  expect(first({ ...asked, steeringOn: 1, steered: true })).toBe("view-steered");
  expect(first({ ...asked, steeringOn: 1, steered: true, viewing: "steered" })).toBe("share");
});

const outcome = (value: number, probability: number) => ({ value, probability, top: [] });
test("a check holds only beyond chance and in the right direction", () => {
  const reply = (without: number, random: number) => ({ plain: outcome(5, 0.6), without: outcome(without, 0.2), random: [outcome(random, 0.6)], predicted: -2 });
  expect(verdict(reply(3, 4.9), 2, 9, " Paris").holds).toBe(true);
  expect(verdict(reply(4.8, 4), 2, 9, " Paris").sentence).toContain("chance does as much");
  expect(verdict(reply(7, 4.9), 2, 9, " Paris").sentence).toContain("the other way");
  expect(verdict(reply(3, 4.9), 2, 9, " Paris").sentence).toContain("from 60% to 20%");
});

test("steering specs", () => {
  expect(turned("off", "capital", ["mlp_act.3/7+"])).toEqual({ name: "capital turned off", what: { units: ["mlp_act.3/7+"] }, change: { strength: 0 }, positions: "all" });
  expect(turned("down", "3/h5", ["z.3/h5"]).what).toEqual({ edits: [{ site: "z.3", target: { heads: [5] }, positions: "all", op: { scale: 0.5 } }] });
  expect(describeWhat(turned("off", "x", [], ["mlp_out_post.2"]))).toBe("1 edit at mlp_out_post.2");
  expect(positionsFromRanges([[3, 5], [7, 8]])).toEqual({ at: [3, 4, 7] });
  expect(positionsFromRanges([[3, 5], [7, null]])).toBeNull();
  expect(rangesFromPositions({ at: [3, 4, 7] })).toEqual([[3, 5], [7, 8]]);
  expect(readSteeringFile("[]", "f")).toContain("neither");
  expect(readSteeringFile('[{"site":"mlp_act.1","op":"zero"}]', "f")).toHaveLength(1);
});

test("names of units", () => {
  expect(parseUnit("mlp_act.3/1054+")).toEqual({ dictionary: null, site: "mlp_act.3", point: "mlp_act", layer: 3, index: 1054, head: false, polarity: "+" });
  expect(parseUnit("z.3/h5")).toMatchObject({ head: true, index: 5, polarity: null });
  expect([parseUnit("mlp_act.3"), parseUnit("rubbish/")]).toEqual([null, null]);
  expect(parseUnit("sae:my/one/7")).toMatchObject({ dictionary: "my/one", index: 7, layer: null, polarity: null });
  expect([parseUnit("sae:one"), parseUnit("sae:/7"), parseUnit("sae:a b/7")]).toEqual([null, null, null]);
  expect([shortUnit("sae:one/7"), withPolarity("sae:one/7", "+")]).toEqual(["one/7", "sae:one/7"]);
  expect([shortUnit("mlp_act.3/1054-"), shortUnit("z.3/h5"), withPolarity("mlp_act.3/1-", "+")]).toEqual(["3/1054−", "3/h5", "mlp_act.3/1+"]);
});

const row = (unit: string, layer: number, value: number, text: string | null): Row => ({
  key: unit, unit, site: "", layer, value, activation: null, relative: null, byPosition: [],
  words: text === null ? null : { text, explainer: "", score: null, interval: null, null: null, interesting: null },
});
test("rows are filtered and sorted", () => {
  const rows = [row("mlp_act.1/4+", 1, -3, "months and dates"), row("mlp_act.0/9-", 0, 1, null), row("mlp_act.0/2+", 0, 2, "capital")];
  const keys = (list: Row[]) => list.map((one) => one.key);
  expect(keys(filterRows(rows, { ...noFilter, text: "DATES mon" }))).toEqual(["mlp_act.1/4+"]);
  expect(keys(filterRows(rows, { ...noFilter, polarity: "-" }))).toEqual(["mlp_act.0/9-"]);
  expect(keys(filterRows(rows, { ...noFilter, sign: "-" }))).toEqual(["mlp_act.1/4+"]);
  expect(keys(sortRows(rows, { by: "value", down: true }))).toEqual(["mlp_act.1/4+", "mlp_act.0/2+", "mlp_act.0/9-"]);
  expect(keys(sortRows(rows, { by: "unit", down: false }))).toEqual(["mlp_act.0/2+", "mlp_act.0/9-", "mlp_act.1/4+"]);
  expect(keys(sortRows(rows, { by: "words", down: true })).at(-1)).toBe("mlp_act.0/9-");
});

test("shades and the lens", () => {
  expect(shades([4, -1, 0, 0.001])).toEqual([{ strength: 1, sign: "+" }, { strength: 0.5, sign: "-" }, { strength: 0, sign: "" }, { strength: 0, sign: "" }]);
  expect(thin([0, 0, -9, 1, 0, 2], 3)).toEqual([0, -9, 2]);
  expect(columns(40, 12, null)).toEqual([28, 40]);
  expect(columns(5, 12, null)).toEqual([0, 5]);
  expect(ablateCell("resid_post.7", 4, "x")?.what).toEqual({ edits: [
    { site: "attn_out_post.7", target: "whole", positions: { at: [4] }, op: "zero" }, { site: "mlp_out_post.7", target: "whole", positions: { at: [4] }, op: "zero" }] });
  expect(ablateCell("embeddings", 4, "x")).toBeNull();
});
