// Names of units: "mlp_act.3/1054+", a head "z.3/h5", a dictionary's latent "sae:NAME/7".
export interface UnitName { dictionary: string | null; site: string; point: string; layer: number | null; index: number; head: boolean; polarity: "+" | "-" | null }

const LATENT = /^sae:([^,=@\s]+)\/(\d+)[+-]?$/;
const FORM = /^([A-Za-z_]+)(?:\.(\d+))?\/(h?)(\d+)([+-]?)$/;

export function parseUnit(name: string): UnitName | null {
  const latent = LATENT.exec(name.trim());
  if (latent) {
    const [, dictionary = "", number] = latent;
    return { dictionary, point: "sae", site: `sae:${dictionary}`, layer: null, index: Number(number), head: false, polarity: null };
  }
  const match = FORM.exec(name.trim().replace("\u2212", "-"));
  if (!match) return null;
  const [, point = "", layer, head, index, polarity] = match;
  return {
    dictionary: null, point, site: layer === undefined ? point : `${point}.${layer}`,
    layer: layer === undefined ? null : Number(layer),
    index: Number(index), head: head === "h", polarity: polarity === "+" || polarity === "-" ? polarity : null,
  };
}

/** For narrow columns: "3/1054+", "3/h5"; what is no neuron or head keeps its full name. */
export function shortUnit(name: string): string {
  const unit = parseUnit(name);
  if (unit?.dictionary != null) return `${unit.dictionary}/${unit.index}`;
  if (!unit || unit.layer === null || (unit.point !== "mlp_act" && unit.point !== "z")) return name.replace(/-$/, "\u2212");
  const polarity = unit.polarity === "-" ? "\u2212" : unit.polarity ?? "";
  return `${unit.layer}/${unit.head ? "h" : ""}${unit.index}${polarity}`;
}

export function withoutPolarity(name: string): string {
  return name.replace(/[+-]$/, "");
}

export function withPolarity(name: string, polarity: "+" | "-"): string {
  return name.startsWith("sae:") ? name : withoutPolarity(name) + polarity; // a latent has one side
}

export function layerOf(site: string): number | null {
  const match = /\.(\d+)/.exec(site);
  return match ? Number(match[1]) : null;
}
