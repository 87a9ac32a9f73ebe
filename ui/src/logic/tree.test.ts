import { expect, test } from "vitest";
import { add, choose, emptyTree, messagesUpTo, path, siblings } from "./tree";

const turn = (id: string, parent: string | null, role: "user" | "assistant") => ({ id, parent, message: { role, content: id }, runs: null });

test("an edited turn is a sibling; nothing is lost", () => {
  let tree = add(add(emptyTree<null>(), turn("u1", null, "user")), turn("a1", "u1", "assistant"));
  tree = add(add(tree, turn("u2", null, "user")), turn("a2", "u2", "assistant"));
  expect(path(tree).map((node) => node.id)).toEqual(["u2", "a2"]);
  expect(siblings(tree, "u2")).toEqual({ index: 1, ids: ["u1", "u2"] });
  expect(path(choose(tree, "u1")).map((node) => node.id)).toEqual(["u1", "a1"]);
  expect(messagesUpTo(tree, "a2", " ")).toEqual([{ role: "user", content: "u2" }, { role: "assistant", content: "a2" }]);
  expect(messagesUpTo(tree, null, "be kind")).toEqual([{ role: "system", content: "be kind" }]);
});
