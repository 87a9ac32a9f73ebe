import { expect, test } from "vitest";
import type { Placed } from "../api/types";
import { blocks } from "./blocks";
import { exactText, findWord, mergeRanges, parseRanges, quoted, range, segments, showRanges, spaced, visible } from "./tokens";

const prompt: Placed[] = [
  { position: 0, id: 1, text: "<s>" }, { position: 1, id: 5, text: "Be kind", role: "system" }, { position: 2, id: 2, text: "\n" },
  { position: 3, id: 7, text: "Hi", role: "user" }, { position: 4, id: 8, text: " you", role: "user" }, { position: 5, id: 2, text: "\n" },
];
const said = { position: 6, id: 9, text: " Paris", probability: 0.5, log_prob: -0.7, top: [] };

test("segments keep writers apart and cover everything", () => {
  expect(segments(prompt).map((s) => [s.role, s.from, s.to])).toEqual([[null, 0, 1], ["system", 1, 2], [null, 2, 3], ["user", 3, 5], [null, 5, 6]]);
});

test("blocks find their messages; a template's own system prompt has none", () => {
  expect(blocks(prompt, [{ role: "user", content: "Hi you" }]).blocks.map((b) => b.message)).toEqual([null, null, null, 0, null]);
  expect(blocks(prompt, [{ role: "system", content: "Be kind" }, { role: "user", content: "Hi you" }]).blocks.map((b) => b.message)).toEqual([null, 0, null, 1, null]);
  expect(blocks(prompt.map(({ position, id, text }) => ({ position, id, text })), []).known).toBe(false);
});

test("the exact text names the prompt's writers only", () => {
  expect(exactText({ prompt, generated: [said] })).toEqual({ tokens: [1, 5, 2, 7, 8, 2, 9], prompt_tokens: 6, roles: [null, "system", null, "user", "user", null] });
});

test("ranges from pointing", () => {
  expect(range(5, 2, 10)).toEqual([2, 6]);
  expect(range(9, 30, 10)).toEqual([9, 10]);
  expect(range(12, 14, 10)).toBeNull();
});

test("ranges as typed", () => {
  expect(parseRanges("3, 5-8, 12-")).toEqual([[3, 4], [5, 9], [12, null]]);
  expect(parseRanges("5..6 6-9")).toEqual([[5, 10]]);
  for (const bad of ["", "x", "8-5", "-3", "1.5"]) expect(parseRanges(bad)).toBeNull();
  expect(mergeRanges([[5, null], [7, 9]])).toEqual([[5, null]]);
  expect(showRanges([[3, 4], [5, 9], [12, null]])).toBe("3, 5-8, 12-");
});

test("words among tokens", () => {
  expect(findWord([...prompt, { position: 6, id: 9, text: " Paris" }], 6, "Paris ")).toBe(6);
  expect(findWord(prompt, 6, "Hi")).toBe("next");
});

test("whitespace can be seen", () => {
  expect([visible("a\n\t"), visible("  "), visible("\u00a0"), visible(""), spaced(" Paris"), quoted(" Paris")]).toEqual(["a⏎⇥", "␣␣", "␣", "(nothing)", "·Paris", "“Paris”"]);
});
