import { expect, it } from "vitest";
import { examples } from "./examples";

it("a chat gets questions, a text to go on with a beginning, and a model of one layer nothing that it would have to know", () => {
  expect(examples("chat", 30)[0]).toContain("?");
  expect(examples("text", 30)[0]).toBe("The capital of France is");
  expect(examples("text", undefined)).toEqual(examples("text", 30));
  expect(examples("text", 1)).not.toContain("The capital of France is");
});
