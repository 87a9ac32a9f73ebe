import { expect, test } from "vitest";
import { coherence, number, percent, points, signed, two } from "./format";

test("percentages never claim nothing or all", () => {
  expect([0.6213, 0.05, 0.0004, 1e-9, 0, 1, 0.9997, 0.999999].map(percent)).toEqual(["62%", "5%", "0.04%", "<0.0001%", "0%", "100%", "99.97%", ">99.99%"]);
  expect(percent(null)).toBe("–");
});

test("effects carry their sign", () => {
  expect([1.234, -0.044, 0, -123.4, 0.00012].map(signed)).toEqual(["+1.23", "−0.044", "0", "−123", "+1e−4"]);
});

test("numbers keep what is small", () => {
  expect([0, 1234, -0.00001, 3.14159, 0.0123].map(number)).toEqual(["0", "1,234", "−1e−5", "3.14", "0.012"]);
  expect(two(-0.5)).toBe("−0.50");
});

test("points", () => {
  expect([0.12, -0.003, 0.00001, 0].map(points)).toEqual(["+12 points", "−0.30 points", "+<0.01 points", "0 points"]);
});

test("chance decides before closeness", () => {
  expect(coherence(0.9, 0.3)).toBe("no closer than chance");
  expect(coherence(0.9, 0.01)).toBe("very close in meaning");
});
