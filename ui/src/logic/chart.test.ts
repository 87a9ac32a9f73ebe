import { describe, expect, it } from "vitest";
import { linear, logarithmic, partOf, picture, range, ticks } from "./chart";

describe("charts", () => {
  it("has round ticks within its ends", () => {
    expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(-2.1, 3.2, 5)).toEqual([-2, 0, 2]);
    expect(ticks(4, 4)).toEqual([4]);
  });

  it("places values between its ends, on decades where it is logarithmic", () => {
    const line = linear([0, 10], [100, 0]);
    expect([line(0), line(5), line(10)]).toEqual([100, 50, 0]);
    const log = logarithmic([1, 1000], [0, 300]);
    expect(log(10)).toBeCloseTo(100);
    expect(log.ticks).toEqual([1, 10, 100, 1000]);
    expect(range([1, 3], [0])[0]).toBe(0);
    expect(range([])).toEqual([0, 1]);
  });

  it("reads the names of a circuit's parts", () => {
    expect(partOf("a5.h3<q>")).toMatchObject({ id: "a5.h3", layer: 5, kind: "head" });
    expect(partOf("m7")).toMatchObject({ layer: 7, kind: "mlp" });
    expect(partOf("nonsense")).toBeNull();
  });

  it("draws edges from left to right", () => {
    const { nodes, edges, columns } = picture([{ edge: "input->a0.h1<v>", score: 1 }, { edge: "a0.h1->m1", score: -1 }, { edge: "m1->logits", score: 2 }, { edge: "x->y", score: 9 }], 400);
    expect(columns.map((column) => column.label)).toEqual(["input", "0", "1", "logits"]);
    expect([nodes.length, edges.length]).toEqual([4, 3]);
    expect(edges.every((edge) => edge.from.x < edge.to.x)).toBe(true);
    expect(edges[0]!.reads).toBe("v");
  });
});
