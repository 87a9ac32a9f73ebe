import { describe, expect, test } from "vitest";
import type { GraphNode, GraphReport } from "../api/graphtypes";
import { between, edgesOf, fileWith, layout, towards, visible } from "./graph";

const node = (id: string, kind: GraphNode["kind"], layer: number | null, position: number, held: number): GraphNode =>
  ({ id, kind, layer, position, held, unit: kind === "unit" ? id : null, name: id, words: null, value: 1, influence: 1 - held, predicted: 0 });
const link = (source: number, target: number, weight: number, held: number) => ({ source, target, weight, held });
const REPORT = {
  prompt: [{ position: 0, id: 1, text: "a" }, { position: 1, id: 2, text: "b" }],
  nodes: [node("0_1_0", "unit", 0, 0, 0.3), node("0_2_0", "unit", 0, 0, 0.7), node("5_3_1", "unit", 5, 1, 0.5), node("E_1_0", "token", null, 0, 0.9), node("7_9_1", "logit", null, 1, 1)],
  links: [link(3, 0, 2, 0.2), link(0, 2, -3, 0.5), link(1, 2, 1, 0.9), link(2, 4, 4, 0.4)],
} as unknown as GraphReport;

describe("a graph", () => {
  test("stands with tokens left to right and layers bottom to top, nobody on another's place", () => {
    const all = REPORT.nodes.map(() => true);
    const { spots, width, height, rows } = layout(REPORT, all);
    expect(new Set(spots.map((s) => `${s.x} ${s.y}`)).size).toBe(5);
    for (const s of spots) expect(s.x > 0 && s.x < width && s.y > 0 && s.y < height).toBe(true);
    expect(spots[0]!.y).toBe(spots[1]!.y);
    expect(spots[3]!.y).toBeGreaterThan(spots[0]!.y);
    expect(spots[0]!.y).toBeGreaterThan(spots[2]!.y);
    expect(spots[2]!.y).toBeGreaterThan(spots[4]!.y);
    expect(spots[2]!.x).toBeGreaterThan(spots[0]!.x);
    // layers that have no node take no room
    expect(rows.map((row) => row.label)).toEqual(["tokens", "L0", "L5", "says"]);
  });

  test("shows what is within the shares, and always something", () => {
    expect(visible(REPORT, 0.5, 1)).toEqual({ nodes: [true, false, true, true, true], links: [0, 1, 3] });
    expect(visible(REPORT, 1, 0.45).links).toEqual([0, 3]);
    expect(visible(REPORT, 0, 1).nodes).toEqual([true, false, false, true, true]);
  });

  test("lists edges in and out by size", () => {
    const all = REPORT.nodes.map(() => true);
    expect(edgesOf(REPORT, 2, "in", all).map((l) => l.source)).toEqual([0, 1]);
    expect(edgesOf(REPORT, 0, "out", all).map((l) => l.target)).toEqual([2]);
    expect(edgesOf(REPORT, 2, "in", [true, false, true, true, true])).toHaveLength(1);
  });

  test("sums what groups add to each other", () => {
    const parts = [{ name: "early", nodes: [0, 1] }, { name: "late", nodes: [2] }, { name: "word", nodes: [4] }];
    expect(between(REPORT, parts)).toEqual([{ from: "late", to: "word", weight: 4 }, { from: "early", to: "late", weight: -2 }]);
  });

  test("is written with pins and groups", () => {
    const file = JSON.stringify({ metadata: { slug: "x" }, qParams: { linkType: "both" }, nodes: [], links: [] });
    const made = fileWith(file, REPORT, [2], [{ label: "early", nodes: [0, 1] }], 4) as { qParams: Record<string, unknown> };
    expect(made.qParams).toEqual({ linkType: "both", pinnedIds: ["5_3_1", "0_1_0", "0_2_0"], supernodes: [["early", "0_1_0", "0_2_0"]], clickedId: "7_9_1" });
  });

  test("is walked by arrow keys", () => {
    const all = REPORT.nodes.map(() => true);
    const { spots } = layout(REPORT, all);
    expect(towards(spots, all, 3, "ArrowUp")).toBeLessThan(2);
    expect(towards(spots, all, 2, "ArrowUp")).toBe(4);
    expect(towards(spots, all, 4, "ArrowUp")).toBe(4);
    expect(towards(spots, all, 0, "ArrowRight")).toBe(1);
  });
});
