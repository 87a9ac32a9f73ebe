// Names of units: "mlp_act.3/1054+", a head "z.3/h5".
export interface UnitName { site: string; point: string; layer: number | null; index: number; head: boolean; polarity: "+" | "-" | null }

const FORM = /^([A-Za-z_]+)(?:\.(\d+))?\/(h?)(\d+)([+-]?)$/;

export function parseUnit(name: string): UnitName | null {
  const match = FORM.exec(name.trim().replace("\u2212", "-"));
  if (!match) return null;
  const [, point = "", layer, head, index, polarity] = match;
  return {
    point, site: layer === undefined ? point : `${point}.${layer}`,
    layer: layer === undefined ? null : Number(layer),
    index: Number(index), head: head === "h", polarity: polarity === "+" || polarity === "-" ? polarity : null,
  };
}

/** For narrow columns: "3/1054+", "3/h5"; what is no neuron or head keeps its full name. */
export function shortUnit(name: string): string {
  const unit = parseUnit(name);
  if (!unit || unit.layer === null || (unit.point !== "mlp_act" && unit.point !== "z")) return name.replace(/-$/, "\u2212");
  const polarity = unit.polarity === "-" ? "\u2212" : unit.polarity ?? "";
  return `${unit.layer}/${unit.head ? "h" : ""}${unit.index}${polarity}`;
}

export function withoutPolarity(name: string): string {
  return name.replace(/[+-]$/, "");
}

export function withPolarity(name: string, polarity: "+" | "-"): string {
  return withoutPolarity(name) + polarity;
}

export function layerOf(site: string): number | null {
  const match = /\.(\d+)/.exec(site);
  return match ? Number(match[1]) : null;
}
