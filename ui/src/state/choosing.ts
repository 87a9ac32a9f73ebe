// Pointing: target, foil, range, spotlight.
import type { Token } from "../api/types";
import { allTokens, findWord } from "../logic/tokens";
import type { Heat } from "../logic/heat";
import { score } from "../api/calls";
import { exactText } from "../logic/tokens";
import { current, page, type PanelName, type RunName, type UnitsTab } from "./page";

const afresh = { spotlight: null, checked: null, openCluster: null };

/** The token at `at` becomes the target; the same one again lets go. */
export function chooseTarget(at: number, token: Token): void {
  const { target } = page.get();
  if (at < 1) {
    page.set({ notice: "Nothing stands before the first token, so nothing can explain it." });
    return;
  }
  if (target && target.at === at && target.token.id === token.id) page.set({ target: null, foil: null, ...afresh });
  else page.set({ target: { at, token: { id: token.id, text: token.text } }, foil: null, unitsTab: "attribution", ...afresh });
}

export function chooseFoil(token: Token | null): void {
  const { target, foil } = page.get();
  if (!target) {
    page.set({ notice: "Choose a target first: click the token to explain." });
    return;
  }
  const same = token !== null && (token.id === foil?.id || token.id === target.token.id);
  page.set({ foil: same ? null : token && { id: token.id, text: token.text }, ...afresh });
}

/** Why the token at `at`, and not `foil`? */
export function chooseBoth(at: number, token: Token, foil: Token): void {
  page.set({ target: { at, token: { id: token.id, text: token.text } }, foil: { id: foil.id, text: foil.text }, unitsTab: "attribution", ...afresh });
}

export const chooseRange = (range: [number, number] | null): void => page.set({ range, ...afresh });
export const clearChoice = (): void => page.set({ target: null, foil: null, range: null, ...afresh });
export const shine = (spotlight: Heat | null): void => page.set({ spotlight });
export const showPanel = (panel: PanelName): void => page.set({ panel });
export const showUnits = (unitsTab: UnitsTab): void => page.set({ unitsTab, panel: "units" });

/** Positions before the answer are the same in both runs; later ones may be other tokens, so the target goes. */
export function view(viewing: RunName): void {
  page.set((state) => {
    const { plain, steered } = current(state);
    const other = viewing === "steered" ? steered : plain;
    const keep = state.target && other && allTokens(other)[state.target.at]?.id === state.target.token.id;
    const next = state.target && other && state.target.at <= (other.prompt.length + other.generated.length);
    return { viewing, ...afresh, ...(keep || next ? {} : { target: null, foil: null }) };
  });
}

/** The first token of the answer that reads as `word`, or the next one if the model has not said it. */
export async function chooseWord(word: string): Promise<string | null> {
  const { run } = current(page.get());
  if (!run) return "There is no answer yet.";
  const tokens = allTokens(run);
  const at = findWord(tokens, run.prompt.length, word);
  if (at !== "next") {
    const token = tokens[at]!;
    page.set({ target: { at, token: { id: token.id, text: token.text } }, foil: null, unitsTab: "attribution", ...afresh });
    return null;
  }
  const wanted = word.trim();
  // It may be what the model nearly said: look among the alternatives, first of the answer, then after its end.
  for (const said of run.generated) {
    const found = said.top.find((other) => other.text.trim() === wanted);
    if (found) {
      page.set({ target: { at: said.position, token: { id: found.id, text: found.text } }, foil: null, unitsTab: "attribution", ...afresh });
      return null;
    }
  }
  const reply = await score({ text: exactText(run), edits: run.edits, top: 50 });
  const next = reply.tokens.at(-1)?.next.find((other) => other.text.trim() === wanted);
  if (!next) return `The model neither said \u201c${wanted}\u201d nor was near it.`;
  page.set({ target: { at: tokens.length, token: { id: next.id, text: next.text } }, foil: null, unitsTab: "attribution", ...afresh });
  return null;
}
