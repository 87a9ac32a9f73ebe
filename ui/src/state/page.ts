// What the page is about now: the conversation, what is pointed at, what is steered.
import type { Edit, Ended, Placed, Sampling, SteerSpec, Sum, Token } from "../api/types";
import type { Heat } from "../logic/heat";
import type { Said } from "../logic/tokens";
import { emptyTree, type Node, path, type Tree } from "../logic/tree";
import type { Verdict } from "../logic/verdict";
import { createStore, useStore } from "./store";

export type RunName = "plain" | "steered";
export type RunState = "waiting" | "streaming" | "done" | "stopped" | "failed";

export interface Run {
  /** Unique: results about a run are kept under it. */
  key: string;
  prompt: Placed[];
  generated: Said[];
  text: string;
  state: RunState;
  ended: Ended | null;
  error: string | null;
  sampling: Sampling;
  edits: Edit[];
  specs: SteerSpec[];
  ms: number;
}

export interface Runs { plain: Run | null; steered: Run | null }
export type Turn = Node<Runs>;

/** `at` is the place of the explained token, one past the end for a token not said yet. */
export interface Target { at: number; token: Token }
export interface Listed { id: string; on: boolean; spec: SteerSpec }
export type HeatMode = "off" | "activation" | "attribution";
export type PanelName = "chat" | "matters" | "units" | "steering" | "guide";
export type UnitsTab = "attribution" | "activation" | "changed";
export interface Checked { verdict: Verdict }

interface Page {
  mode: "chat" | "text";
  system: string;
  tree: Tree<Runs>;
  draft: string;
  sampling: Sampling;
  viewing: RunName;
  target: Target | null;
  foil: Token | null;
  range: [number, number] | null;
  heat: HeatMode;
  spotlight: Heat | null;
  specs: Listed[];
  runAtOnce: boolean;
  steeringError: string | null;
  panel: PanelName;
  unitsTab: UnitsTab;
  by: Sum;
  /** Whose latents, where the units are latents. */
  dictionary: string | null;
  drawer: string | null;
  /** Last check made for the present target. */
  checked: Verdict | null;
  openCluster: number | null;
  shared: { id: string; of: string } | null;
  story: { id: string; step: number } | null;
  guideOpen: boolean;
  notice: string | null;
}

export const defaultSampling: Sampling = { max_tokens: 64, temperature: 0, top_k: null, top_p: null, min_p: null, repetition: 1, seed: 1, stop: [] };

export const nothingChosen = {
  target: null, foil: null, range: null, spotlight: null, checked: null, openCluster: null,
} satisfies Partial<Page>;

export const page = createStore<Page>({
  mode: "chat", system: "", tree: emptyTree<Runs>(), draft: "", sampling: defaultSampling,
  viewing: "plain", ...nothingChosen, heat: "attribution",
  specs: [], runAtOnce: true, steeringError: null,
  panel: "chat", unitsTab: "attribution", by: "unit", dictionary: null, drawer: null, shared: null, story: null,
  guideOpen: true, notice: null,
});

export const usePage = <T>(pick: (state: Page) => T): T => useStore(page, pick);

let made = 0;
export const freshKey = (kind: string): string => `${kind}${++made}-${Date.now().toString(36)}`;

/** The answer that the panels are about: the last one on the path that is looked at. */
export function currentTurn(tree: Tree<Runs>): Turn | null {
  return path(tree).findLast((turn) => turn.runs !== null) ?? null;
}

/** The run that the panels show: the steered one only when it is chosen and there. */
export function viewedName(turn: Turn | null, viewing: RunName): RunName {
  return viewing === "steered" && turn?.runs?.steered ? "steered" : "plain";
}

export interface Current { turn: Turn | null; plain: Run | null; steered: Run | null; name: RunName; run: Run | null }

let last: { tree: Tree<Runs>; viewing: RunName; value: Current } | null = null;
/** Memoised by reference, so that it can be picked from the store. */
export function current(state: { tree: Tree<Runs>; viewing: RunName }): Current {
  if (last && last.tree === state.tree && last.viewing === state.viewing) return last.value;
  const turn = currentTurn(state.tree);
  const name = viewedName(turn, state.viewing);
  const plain = turn?.runs?.plain ?? null, steered = turn?.runs?.steered ?? null;
  last = { tree: state.tree, viewing: state.viewing, value: { turn, plain, steered, name, run: name === "steered" ? steered : plain } };
  return last.value;
}

export const useCurrent = (): Current => usePage(current);
export const finished = (run: Run | null): run is Run => run !== null && (run.state === "done" || run.state === "stopped") && run.prompt.length > 0;
