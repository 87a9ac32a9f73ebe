// Rows of the units table: one shape for what caused and for what was active, sorted and filtered here.
import type { ActiveUnit, CompareReply, UnitEffect, Words } from "../api/types";
import { parseUnit } from "./unitname";

export interface Row {
  key: string;
  unit: string | null;
  site: string;
  layer: number;
  /** Signed effect, relative activation, or change: what the main column shows. */
  value: number;
  activation: number | null;
  relative: number | null;
  byPosition: number[];
  /** The other run's values, where two are compared. */
  before?: number[];
  words: Words | null;
  direct?: boolean;
}

export interface Filter { text: string; layers: [number, number] | null; polarity: "+" | "-" | null; sign: "+" | "-" | null }
export const noFilter: Filter = { text: "", layers: null, polarity: null, sign: null };
export interface Sort { by: "value" | "unit" | "words" | "relative"; down: boolean }

export function effectRows(units: UnitEffect[]): Row[] {
  return units.map((unit, i) => ({
    key: unit.unit ?? `${unit.site}#${i}`, unit: unit.unit, site: unit.site, layer: unit.layer, value: unit.effect,
    activation: unit.activation, relative: unit.relative, byPosition: unit.by_position, words: unit.words,
  }));
}

export function activeRows(units: ActiveUnit[]): Row[] {
  return units.map((unit) => ({
    key: unit.unit, unit: unit.unit, site: parseUnit(unit.unit)?.site ?? "", layer: unit.layer,
    value: unit.relative ?? unit.activation, activation: unit.activation, relative: unit.relative,
    byPosition: unit.by_position, words: unit.words,
  }));
}

export function changedRows(units: CompareReply["units"]): Row[] {
  return units.map((unit) => ({
    key: unit.unit, unit: unit.unit, site: parseUnit(unit.unit)?.site ?? "", layer: unit.layer, value: unit.change,
    activation: null, relative: null, byPosition: unit.edited, before: unit.plain, words: unit.words,
    direct: unit.edited_directly,
  }));
}

export function filterRows(rows: Row[], filter: Filter): Row[] {
  const words = filter.text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    if (filter.layers && (row.layer < filter.layers[0] || row.layer > filter.layers[1])) return false;
    if (filter.polarity && !row.unit?.endsWith(filter.polarity)) return false;
    if (filter.sign && Math.sign(row.value) !== (filter.sign === "+" ? 1 : -1)) return false;
    if (words.length === 0) return true;
    const text = `${row.unit ?? row.site} ${row.words?.text ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

export function sortRows(rows: Row[], sort: Sort): Row[] {
  const way = sort.down ? -1 : 1;
  const order = (a: Row, b: Row): number => {
    switch (sort.by) {
      case "value": return (Math.abs(a.value) - Math.abs(b.value)) * way;
      case "relative": return ((a.relative ?? -1) - (b.relative ?? -1)) * way;
      case "unit": return (a.layer - b.layer || (parseUnit(a.unit ?? "")?.index ?? 0) - (parseUnit(b.unit ?? "")?.index ?? 0)) * way;
      // Units without words stay at the end, whichever way.
      case "words":
        if (!a.words || !b.words) return Number(!a.words) - Number(!b.words);
        return a.words.text.localeCompare(b.words.text) * way;
    }
  };
  return [...rows].sort(order);
}
