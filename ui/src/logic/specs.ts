// Steering specs from what was pointed at, and in words.
import type { Edit, Positions, SteerReply, SteerSpec } from "../api/types";
import { number } from "./format";
import { parseUnit, shortUnit } from "./unitname";
import { mergeRanges, type Ranges, showRanges } from "./tokens";

export type Turn = "off" | "down" | "up";

const CHANGES: Record<Turn, SteerSpec["change"]> = { off: { strength: 0 }, down: { scale: 0.5 }, up: { scale: 2 } };
const FACTORS: Record<Turn, number> = { off: 0, down: 0.5, up: 2 };
const VERBS: Record<Turn, string> = { off: "turned off", down: "turned down", up: "turned up" };

/** What a row, a card or a cell stands for: units, or whole parts of the network. */
export function turned(turn: Turn, label: string, units: string[], sites: string[] = []): SteerSpec {
  const heads = units.map(parseUnit).filter((unit) => unit !== null && unit.head);
  const name = `${label} ${VERBS[turn]}`;
  if (heads.length === 0 && sites.length === 0) {
    return { name, what: { units }, change: CHANGES[turn], positions: "all" };
  }
  const op: Edit["op"] = turn === "off" ? "zero" : { scale: FACTORS[turn] };
  const edits: Edit[] = [
    ...heads.map((head): Edit => ({ site: head!.site, target: { heads: [head!.index] }, positions: "all", op })),
    ...sites.map((site): Edit => ({ site, target: "whole", positions: "all", op })),
  ];
  return { name, what: { edits }, change: { scale: FACTORS[turn] }, positions: "all" };
}

export function describeWhat(spec: SteerSpec): string {
  const { what } = spec;
  if ("concept" in what) return `the ${what.concept.k} neurons nearest to \u201c${what.concept.text}\u201d`;
  if ("units" in what) {
    return what.units.length === 1 ? `neuron ${shortUnit(what.units[0]!)}` : `${what.units.length} neurons`;
  }
  const sites = [...new Set(what.edits.map((edit) => edit.site))];
  return `${what.edits.length} ${what.edits.length === 1 ? "edit" : "edits"} at ${sites.slice(0, 3).join(", ")}${sites.length > 3 ? " …" : ""}`;
}

export function describeChange(spec: SteerSpec): string {
  if ("edits" in spec.what) return "as written";
  if ("strength" in spec.change) {
    const { strength } = spec.change;
    return strength === 0 ? "off" : `set to ${number(strength)}× typical`;
  }
  return spec.change.scale === 0 ? "off" : `${number(spec.change.scale)}× what it is`;
}

export function describePositions(positions: Positions): string {
  if (positions === "all") return "everywhere";
  if ("role" in positions) {
    return { system: "in the system prompt", user: "in your turns", assistant: "in earlier answers", generated: "in the answer" }[positions.role];
  }
  if ("at" in positions) return `at ${showRanges(positions.at.map((at) => [at, at + 1]))}`;
  return `at ${showRanges([positions.range])}`;
}

/** The wire has one range, or a list of places: several ranges become places (so none may be open). */
export function positionsFromRanges(ranges: Ranges): Positions | null {
  const merged = mergeRanges(ranges);
  if (merged.length === 1) return { range: merged[0]! };
  if (merged.some(([, to]) => to === null)) return null;
  return { at: merged.flatMap(([from, to]) => Array.from({ length: to! - from }, (_, i) => from + i)) };
}

export function rangesFromPositions(positions: Positions): Ranges | null {
  if (positions === "all" || "role" in positions) return null;
  return "range" in positions ? [positions.range] : mergeRanges(positions.at.map((at) => [at, at + 1]));
}

export function allEdits(reply: SteerReply | undefined): Edit[] {
  return reply ? reply.specs.flatMap((spec) => spec.edits) : [];
}

/** A file somebody chose: a list of edits, or specs as this page writes them. A sentence says what is wrong. */
export function readSteeringFile(text: string, name: string): SteerSpec[] | string {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return "This file is not JSON.";
  }
  if (Array.isArray(data) && data.length > 0 && data.every(isEdit)) {
    return [{ name, what: { edits: data }, change: { scale: 1 }, positions: "all" }];
  }
  const specs = (data as { specs?: unknown } | null)?.specs;
  if (Array.isArray(specs) && specs.length > 0 && specs.every(isSpec)) return specs;
  return "This file holds neither a list of edits nor steering specs.";
}

function isEdit(value: unknown): value is Edit {
  const edit = value as Partial<Edit> | null;
  return typeof edit === "object" && edit !== null && typeof edit.site === "string" && edit.op !== undefined;
}

export function isSpec(value: unknown): value is SteerSpec {
  const spec = value as Partial<SteerSpec> | null;
  return typeof spec === "object" && spec !== null && typeof spec.name === "string" && typeof spec.what === "object"
    && typeof spec.change === "object" && spec.positions !== undefined;
}
