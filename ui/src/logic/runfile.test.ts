import { expect, test } from "vitest";
import type { RunFile, Status } from "../api/types";
import { readRoute, runAddress, unitAddress } from "./route";
import { makeRunFile, otherModel, readRunFile, runFileName } from "./runfile";

const status = { pellucid: "0.1.0", model: { name: "m", sha256: "ab".repeat(32), tokenizer_hash: "cd" } } as Status;
const answer = (id: number) => ({ generated: [{ position: 1, id, text: "x", probability: 1, log_prob: 0, top: [] }], text: "x" });
const sampling = { max_tokens: 4, temperature: 0, seed: 1 };
const make = (steered: boolean): RunFile => makeRunFile({
  status, messages: [{ role: "user", content: "What is 9.11?" }], prompt: [{ position: 0, id: 3, text: "a", role: "user" }], sampling,
  specs: [{ name: "s", what: { units: ["mlp_act.0/1+"] }, change: { strength: 0 }, positions: "all" }], edits: [{ site: "mlp_act.0", op: "zero" }],
  plain: answer(4), steered: steered ? answer(5) : null,
});

test("a plain run carries no edits, a steered one does", () => {
  expect(make(false)).toMatchObject({ specs: [], edits: [], edited: null, tokens: [3], roles: ["user"], plain: { tokens: [4], text: "x" } });
  expect(make(true)).toMatchObject({ edits: [{ site: "mlp_act.0" }], edited: { tokens: [5] } });
});

test("files are read back, and faults are named", () => {
  const run = make(true);
  expect(readRunFile(JSON.stringify(run))).toEqual(run);
  expect(readRunFile("{")).toContain("not JSON");
  expect(readRunFile("[]")).toContain("not a run");
  expect(readRunFile(JSON.stringify({ ...run, roles: [] }))).toContain("roles");
  expect(readRunFile(JSON.stringify({ ...run, edited: { tokens: ["x"] } }))).toContain("damaged");
});

test("another model is said", () => {
  expect(otherModel(make(false), status)).toBeNull();
  expect(otherModel({ ...make(false), model: { name: "n", sha256: "ff", tokenizer_hash: "" } }, status)).toContain("may differ");
});

test("names and addresses", () => {
  expect(runFileName(make(false))).toBe("pellucid-run-what-is-9-11.json");
  expect(readRoute(runAddress("a/b"))).toEqual({ view: "run", id: "a/b" });
  expect(readRoute(unitAddress("mlp_act.3/1054+"))).toEqual({ view: "unit", unit: "mlp_act.3/1054+" });
  expect(["", "#/", "#/lens", "#/stories", "#/%E0%A4%A"].map((hash) => readRoute(hash).view)).toEqual(["workbench", "workbench", "lens", "stories", "workbench"]);
});
