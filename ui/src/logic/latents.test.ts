import { describe, expect, it } from "vitest";
import type { LatentsReply } from "../api/dictionary";
import { bars, decades, inside, nearestTo, ordered, ramp, SHADES, shading } from "./latents";

const data: LatentsReply = { tokens: 1000, active: [0, 1, 10, 100, 10], most: [0, 3, 2, 1, 2], score: [null, 0.5, -0.1, 0.9, null], null: [null, 0, 0.1, 0, null] };

describe("histograms", () => {
  it("has edges at multiples of the width and no gaps", () => {
    expect(bars([0.1, 0.3, 0.74], 0.25).map((bar) => [bar.low, bar.count])).toEqual([[0, 1], [0.25, 1], [0.5, 1]]);
    expect(bars([-1, 1], 1).map((bar) => bar.count)).toEqual([1, 0, 1]);
    expect(bars([Infinity, NaN], 1)).toEqual([]);
    // a value on an edge belongs to the bin that begins there, whatever the edge's last bits
    expect(bars([0.3], 0.1)[0]!.low).toBeCloseTo(0.3);
  });
  it("leaves latents that were never active to be told in words", () => {
    expect(decades(data)[0]).toBe(-Infinity);
    expect(bars(decades(data), 1).reduce((sum, bar) => sum + bar.count, 0)).toBe(4);
  });
});

describe("orders", () => {
  const all = [0, 1, 2, 3, 4];
  it("keeps what has no value at the end, whichever way", () => {
    expect(ordered(all, data, { by: "score", down: true })).toEqual([3, 1, 2, 0, 4]);
    expect(ordered(all, data, { by: "score", down: false })).toEqual([2, 1, 3, 0, 4]);
  });
  it("goes by index where values are equal, and keeps the order of a search", () => {
    expect(ordered(all, data, { by: "most", down: true })).toEqual([1, 2, 4, 3, 0]);
    expect(ordered([3, 1], data, { by: "near", down: true })).toEqual([3, 1]);
    expect(ordered([3, 1], null, { by: "density", down: true })).toEqual([1, 3]);
  });
});

describe("shades", () => {
  it("marks what has no value, and runs from the first to the last", () => {
    expect([...shading(5, data, "score").shades]).toEqual([-1, 12, 0, 21, -1]);
    const density = shading(5, data, "density");
    expect(density.shades[0]).toBe(-1);
    expect(density.shades[3]).toBe(SHADES - 1);
    expect([...shading(3, null, "score").shades]).toEqual([-1, -1, -1]);
  });
  it("ends at the colours that it was given", () => {
    const made = ramp([[0, 0, 0], [10, 20, 30], [255, 255, 255]]);
    expect([made.length, made[0], made[SHADES - 1]]).toEqual([SHADES, "rgb(0 0 0)", "rgb(255 255 255)"]);
  });
});

describe("places", () => {
  const x = [0, 5, 5, 9], y = [0, 5, 1, 9];
  it("finds what a line encloses, bays left out", () => {
    expect(inside([[4, 0], [6, 0], [6, 6], [4, 6]], x, y)).toEqual([1, 2]);
    expect(inside([[1, -1], [10, -1], [10, 10], [5, 3], [1, 10]], x, y)).toEqual([2]);
    expect(inside([[0, 0], [1, 1]], x, y)).toEqual([]);
  });
  it("finds the nearest point within reach", () => {
    expect(nearestTo(5, 4, 2, x, y)).toBe(1);
    expect(nearestTo(5, 4, 0.5, x, y)).toBe(null);
    expect(nearestTo(5, 4, 5, x, y, Uint8Array.from([1, 0, 1, 1]))).toBe(2);
  });
});
