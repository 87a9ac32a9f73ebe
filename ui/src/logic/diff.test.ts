import { expect, test } from "vitest";
import { differenceSentence, firstDifference, shifts } from "./diff";

const ids = (...list: number[]) => list.map((id) => ({ id }));

test("the first difference, or none", () => {
  expect(firstDifference(ids(1, 2, 3), ids(1, 5, 3))).toBe(1);
  expect(firstDifference(ids(1, 2), ids(1, 2))).toBeNull();
  expect(firstDifference(ids(1, 2), ids(1, 2, 3))).toBe(2);
});

test("said in words", () => {
  expect(differenceSentence(ids(1), ids(1))).toContain("same, token for token");
  expect(differenceSentence(ids(2), ids(1))).toContain("from the first token");
  expect(differenceSentence(ids(1, 2), ids(1, 3))).toBe("The answers are the same for 1 token and differ from there.");
  expect(differenceSentence(ids(1, 2), ids(1))).toContain("goes on");
});

test("shifts by size, from the answer on", () => {
  expect(shifts([null, -1, -2, -3], [null, -9, -2.5, -1], 2).map((s) => [s.position, s.change])).toEqual([[3, 2], [2, -0.5]]);
});
