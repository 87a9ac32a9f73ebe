import { describe, expect, it } from "vitest";
import { LAB_METHODS } from "../logic/route";
import { lab, mostItems, OWN, progress, request } from "./lab";

const form = lab.get().form;

describe("what a method is asked", () => {
  it("takes no more items than the method does", () => {
    for (const method of LAB_METHODS) {
      const asked = request(method, { ...form, into: "back", items: 256 });
      if ("items" in asked) expect(asked.items).toBe(mostItems(method));
    }
    expect([mostItems("lens"), mostItems("trace"), mostItems("circuit")]).toEqual([256, 64, 64]);
  });

  it("traces places, or paths to what is named", () => {
    expect(request("trace", { ...form, at: "z", corrupt: "noise" })).toMatchObject({ at: ["z"], noise: { sigma: 3 } });
    const paths = request("trace", { ...form, at: "paths", ends: " z.9/h6:q, logits ", throughMlps: true });
    expect(paths).toMatchObject({ to: ["z.9/h6:q", "logits"], through_mlps: true, noise: null });
    expect(paths).not.toHaveProperty("at");
  });

  it("reads a text, or a behaviour", () => {
    expect(request("patchscope", { ...form, into: "text", text: "a b", position: 0 })).toEqual({ text: "a b", position: 0, back_by: 4, target: "description", generate: 8 });
    expect(request("patchscope", { ...form, into: "target" })).toMatchObject({ what: { behaviour: "agreement" }, into: "target", from: "last" });
  });

  it("teaches a task, or pairs of one's own", () => {
    expect(request("function", { ...form, task: "plural" })).toMatchObject({ what: { task: "plural" }, shots: 10 });
    expect(request("function", { ...form, task: OWN, pairs: "{}" })).toMatchObject({ what: { jsonl: "{}" } });
  });
});

it("says how far it is, and not of how much before that is known", () => {
  expect(progress({ what: "heads tried", done: 0, total: 0 })).toBe("Heads tried…");
  expect(progress({ what: "heads tried", done: 3, total: 270 })).toBe("Heads tried: 3 of 270");
});
