// The list of steering specs. Any change runs the steered answer again, after a short pause, when that is wished.
import type { SteerSpec } from "../api/types";
import { turned, type Turn } from "../logic/specs";
import { dropSteered, runSteered } from "./answering";
import { current, freshKey, type Listed, page } from "./page";

let timer: ReturnType<typeof setTimeout> | undefined;

function changed(specs: Listed[]): void {
  page.set({ specs, steeringError: null });
  clearTimeout(timer);
  const { runAtOnce } = page.get();
  const { turn, plain } = current(page.get());
  if (!turn || !plain || plain.state === "waiting" || plain.state === "streaming") return;
  if (!specs.some((listed) => listed.on)) {
    if (turn.runs?.steered) dropSteered(turn.id);
  } else if (runAtOnce) {
    timer = setTimeout(() => { void runSteered(turn.id); }, 250);
  }
}

export function addSpec(spec: SteerSpec): void {
  const { specs } = page.get();
  // The same thing turned again replaces what it was turned to before: off and up at once would be nonsense.
  const same = specs.findIndex((listed) => JSON.stringify([listed.spec.what, listed.spec.positions]) === JSON.stringify([spec.what, spec.positions]));
  changed(same < 0
    ? [...specs, { id: freshKey("spec"), on: true, spec }]
    : specs.map((listed, i) => (i === same ? { ...listed, on: true, spec } : listed)));
}

export const turnUnits = (turn: Turn, label: string, units: string[], sites: string[] = []): void =>
  addSpec(turned(turn, label, units, sites));

export const replaceSpec = (id: string, spec: SteerSpec): void =>
  changed(page.get().specs.map((listed) => (listed.id === id ? { ...listed, spec } : listed)));
export const switchSpec = (id: string, on: boolean): void =>
  changed(page.get().specs.map((listed) => (listed.id === id ? { ...listed, on } : listed)));
export const removeSpec = (id: string): void => changed(page.get().specs.filter((listed) => listed.id !== id));
export const setSpecs = (specs: SteerSpec[]): void => changed(specs.map((spec) => ({ id: freshKey("spec"), on: true, spec })));
/** Loading a run sets its specs without running anything. */
export const loadSpecs = (specs: SteerSpec[]): void => page.set({ specs: specs.map((spec) => ({ id: freshKey("spec"), on: true, spec })), steeringError: null });
