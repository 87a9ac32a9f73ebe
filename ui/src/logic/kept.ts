// A conversation as text and back. What comes back was stored by this page, an older one, or anybody: it is checked.
import type { Sampling, SteerSpec } from "../api/types";
import type { Run, Runs } from "../state/page";
import { isSpec } from "./specs";
import { add, emptyTree, type Node, path, type Tree } from "./tree";

export interface Kept {
  mode: "chat" | "text";
  system: string;
  draft: string;
  tree: Tree<Runs>;
  specs: { id: string; on: boolean; spec: SteerSpec }[];
  sampling: Sampling;
}

const VERSION = 1;

export const writeKept = (kept: Kept): string => JSON.stringify({ version: VERSION, ...kept });

/** Only the turns that are looked at: what is kept of a conversation too long to keep whole. */
export function withoutBranches<R>(tree: Tree<R>): Tree<R> {
  return path(tree).reduce((kept, node) => add(kept, node), emptyTree<R>());
}

/** Null where it is nothing of ours. */
export function readKept(text: string | null): Kept | null {
  try {
    const data = JSON.parse(text ?? "null") as (Kept & { version: number }) | null;
    if (data?.version !== VERSION || (data.mode !== "chat" && data.mode !== "text")) return null;
    if (typeof data.system !== "string" || typeof data.draft !== "string" || !isSampling(data.sampling) || !isTree(data.tree)) return null;
    if (!Array.isArray(data.specs) || !data.specs.every((one) => typeof one.id === "string" && typeof one.on === "boolean" && isSpec(one.spec))) return null;
    const { mode, system, draft, tree, specs, sampling } = data;
    const nodes = Object.fromEntries(Object.entries(tree.nodes).map(([id, node]) => [id, node.runs ? { ...node, runs: ended(node.runs) } : node]));
    return { mode, system, draft, specs, sampling, tree: { ...tree, nodes } };
  } catch {
    return null;
  }
}

/** An answer that was still being written when the page went away ends where it was. */
function ended(runs: Runs): Runs {
  const end = (run: Run | null): Run | null => {
    if (run === null || (run.state !== "waiting" && run.state !== "streaming")) return run;
    return run.generated.length > 0 ? { ...run, state: "stopped", ended: "cancelled" }
      : { ...run, state: "failed", error: "The page was left before the answer began." };
  };
  return { plain: end(runs.plain), steered: end(runs.steered) };
}

const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

function isSampling(value: unknown): boolean {
  return isObject(value) && isNumber(value.max_tokens) && isNumber(value.temperature) && isNumber(value.seed);
}

function isToken(value: unknown): boolean {
  return isObject(value) && isNumber(value.id) && isText(value.text) && isNumber(value.position);
}

function isRun(value: unknown): boolean {
  return isObject(value) && isText(value.key) && isText(value.text) && isText(value.state) && isNumber(value.ms) && isSampling(value.sampling)
    && Array.isArray(value.edits) && Array.isArray(value.specs) && value.specs.every(isSpec)
    && Array.isArray(value.prompt) && value.prompt.every(isToken)
    && Array.isArray(value.generated) && value.generated.every((said) => isToken(said) && isNumber(said.log_prob) && Array.isArray(said.top));
}

function isNode(value: unknown): value is Node<Runs> {
  if (!isObject(value) || !isText(value.id) || !isObject(value.message) || !isText(value.message.role) || !isText(value.message.content)) return false;
  const { runs } = value;
  return runs === null || (isObject(runs) && [runs.plain, runs.steered].every((run) => run === null || isRun(run)));
}

/** Each turn stands after its parent, so that there is no way round in a circle. */
function isTree(value: unknown): value is Tree<Runs> {
  if (!isObject(value) || !isObject(value.nodes) || !isObject(value.children) || !isObject(value.chosen)) return false;
  const seen = new Set([""]);
  for (const [id, node] of Object.entries(value.nodes)) {
    if (!isNode(node) || node.id !== id || !seen.has(node.parent ?? "")) return false;
    seen.add(id);
  }
  const nodes = value.nodes as Tree<Runs>["nodes"];
  const below = (parent: string) => (id: unknown) => isText(id) && seen.has(id) && id !== "" && (nodes[id]!.parent ?? "") === parent;
  return Object.entries(value.children).every(([parent, ids]) => Array.isArray(ids) && ids.every(below(parent)))
    && Object.entries(value.chosen).every(([parent, id]) => below(parent)(id));
}
