import { expect, test } from "vitest";
import type { Run, Runs } from "../state/page";
import { type Kept, readKept, withoutBranches, writeKept } from "./kept";
import { add, choose, emptyTree, path } from "./tree";

const sampling = { max_tokens: 8, temperature: 0, seed: 1 };
const run = (state: Run["state"], said = 1): Run => ({
  key: "run1", prompt: [{ position: 0, id: 5, text: "Hi" }], text: "x", state, ended: null, error: null, sampling, edits: [], specs: [], ms: 3,
  generated: Array.from({ length: said }, (_, i) => ({ position: 1 + i, id: 6, text: "x", probability: 1, log_prob: 0, top: [] })),
});
const turn = (id: string, parent: string | null, role: "user" | "assistant", runs: Runs | null = null) => ({ id, parent, message: { role, content: id }, runs });
const tree = choose(add(add(add(add(emptyTree<Runs>(),
  turn("u1", null, "user")), turn("a1", "u1", "assistant", { plain: run("done"), steered: run("streaming") })),
turn("u2", null, "user")), turn("a2", "u2", "assistant", { plain: run("waiting", 0), steered: null })), "u1");
const kept: Kept = {
  mode: "chat", system: "be kind", draft: "and", tree, sampling,
  specs: [{ id: "s1", on: false, spec: { name: "n", what: { units: ["mlp_act.3/1+"] }, change: { scale: 0 }, positions: "all" } }],
};

test("a conversation comes back as it was, and what was being written has ended", () => {
  const back = readKept(writeKept(kept))!;
  expect({ ...back, tree: null }).toEqual({ ...kept, tree: null });
  expect(path(back.tree).map((node) => node.id)).toEqual(["u1", "a1"]);
  expect(back.tree.nodes.a1!.runs!.plain).toEqual(run("done"));
  expect(back.tree.nodes.a1!.runs!.steered).toMatchObject({ state: "stopped", ended: "cancelled", text: "x" });
  expect(back.tree.nodes.a2!.runs!.plain).toMatchObject({ state: "failed", error: expect.stringContaining("left") });
});

test("without branches only what is looked at is left", () => {
  expect(Object.keys(withoutBranches(tree).nodes)).toEqual(["u1", "a1"]);
});

test("rubbish is nothing", () => {
  const whole = JSON.parse(writeKept(kept)) as Record<string, unknown> & { tree: Record<string, Record<string, unknown>> };
  const with_ = (change: Record<string, unknown>) => JSON.stringify({ ...whole, ...change });
  const nodes = whole.tree.nodes as Record<string, Record<string, unknown>>;
  const bad = [
    null, "", "{", "null", "[]", "3", "{}", with_({ version: 0 }), with_({ mode: "poem" }), with_({ system: 1 }), with_({ sampling: null }), with_({ specs: [{}] }), with_({ tree: {} }),
    with_({ tree: { ...whole.tree, chosen: { "": "gone" } } }), with_({ tree: { ...whole.tree, chosen: { "": "u1", u1: "u1" } } }), with_({ tree: { ...whole.tree, children: { "": [7] } } }),
    // A parent that comes later or is itself would lead round in a circle.
    with_({ tree: { ...whole.tree, nodes: { ...nodes, u1: { ...nodes.u1, parent: "a1" } } } }),
    with_({ tree: { ...whole.tree, nodes: { ...nodes, a1: { ...nodes.a1, runs: { plain: { key: "k" }, steered: null } } } } }),
  ];
  for (const text of bad) expect(readKept(text), String(text)).toBeNull();
});
