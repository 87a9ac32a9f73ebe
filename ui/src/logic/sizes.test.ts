import { expect, test } from "vitest";
import { moved, readSizes, share } from "./sizes";

test("a border moves between its neighbours and leaves the others alone", () => {
  expect(moved([500, 400, 300], 0, 60, [100, 100, 100])).toEqual([560, 340, 300]);
  expect(moved([500, 400, 300], 1, -1000, [100, 120, 100])).toEqual([500, 120, 580]);
  expect(moved([500, 400, 300], 1, 1000, [100, 120, 250])).toEqual([500, 450, 250]);
  // A window too narrow for the least sizes: nothing jumps, and it can only get better.
  expect(moved([90, 400], 0, -10, [100, 100])).toEqual([90, 400]);
});

test("a border's place is a share of its neighbours", () => {
  expect(share([300, 100, 7], 0, [100, 100, 0])).toEqual({ now: 75, min: 25, max: 75 });
  expect(share([], 0, [100, 100])).toEqual({ now: 50, min: 0, max: 100 });
});

test("rubbish in storage is no size", () => {
  for (const text of [null, "", "{", "[]", "null", "7", '{"wide":"x"}', '{"wide":[1]}', '{"wide":[1,null]}', '{"wide":[1,-2]}']) expect(readSizes(text)).toEqual({});
  expect(readSizes('{"wide":[3,4],"three":[0,1]}')).toEqual({ wide: [3, 4] });
});
