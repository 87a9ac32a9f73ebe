// Numbers to places on a drawing: scales, ticks, and a circuit's nodes in columns.

export interface Scale { (value: number): number; ticks: number[] }

/** Round steps of 1, 2 or 5 that cut a stretch into about `wanted` parts. */
export function ticks(low: number, high: number, wanted = 5): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return [low];
  const raw = span / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((by) => by * power >= raw) ?? 10);
  const out: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(Number((i * step).toPrecision(12)) + 0);
  return out;
}

export function linear([low, high]: [number, number], [from, to]: [number, number], wanted = 5): Scale {
  const span = high - low || 1;
  const scale = (value: number) => from + ((value - low) / span) * (to - from);
  return Object.assign(scale, { ticks: ticks(low, high, wanted) });
}

/** Decades; both ends must be above 0. */
export function logarithmic([low, high]: [number, number], [from, to]: [number, number]): Scale {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const span = b - a || 1;
  const scale = (value: number) => from + ((Math.log10(Math.max(value, low)) - a) / span) * (to - from);
  const decades: number[] = [];
  for (let p = Math.ceil(a - 1e-9); p <= b + 1e-9; p++) decades.push(10 ** p);
  return Object.assign(scale, { ticks: decades.length > 0 ? decades : [low] });
}

/** Ends that hold all values, and some air. */
export function range(values: number[], always: number[] = []): [number, number] {
  const all = [...values, ...always].filter(Number.isFinite);
  if (all.length === 0) return [0, 1];
  const low = Math.min(...all), high = Math.max(...all);
  const air = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - (always.includes(low) && low === 0 ? 0 : air), high + air];
}

// ---------------------------------------------------------------- circuits

export interface Part { id: string; layer: number; kind: "input" | "head" | "mlp" | "logits"; index: number }

/** "a5.h3<q>" and "a5.h3" are one head; "m7" is an MLP. Null where the name is none. */
export function partOf(name: string): Part | null {
  if (name === "input") return { id: name, layer: -1, kind: "input", index: 0 };
  if (name === "logits") return { id: name, layer: Infinity, kind: "logits", index: 0 };
  const head = /^a(\d+)\.h(\d+)(?:<[qkv]>)?$/.exec(name);
  if (head) return { id: `a${head[1]}.h${head[2]}`, layer: Number(head[1]), kind: "head", index: Number(head[2]) };
  const mlp = /^m(\d+)$/.exec(name);
  return mlp ? { id: name, layer: Number(mlp[1]), kind: "mlp", index: Number.MAX_SAFE_INTEGER } : null;
}

export interface Placed extends Part { x: number; y: number }
export interface Drawn { edge: string; score: number; from: Placed; to: Placed; reads: string }
export interface Picture { nodes: Placed[]; edges: Drawn[]; columns: { x: number; label: string }[]; width: number; height: number }

const LIFTS = [-100, 34, -34, 100, 0, -68, 68];

/** A circuit's edges as a picture: a column for each layer that has a node, from the input to the logits. */
export function picture(edges: { edge: string; score: number }[], wide: number): Picture {
  const read = edges.flatMap(({ edge, score }) => {
    const [a, b] = edge.split("->");
    const from = partOf(a ?? ""), to = partOf(b ?? "");
    return from && to ? [{ edge, score, from, to, reads: /<([qkv])>/.exec(b!)?.[1] ?? "" }] : [];
  });
  const parts = new Map<string, Part>();
  for (const { from, to } of read) parts.set(from.id, from).set(to.id, to);
  const layers = [...new Set([...parts.values()].map((part) => part.layer))].sort((a, b) => a - b);
  const columnsOf = layers.map((layer) => [...parts.values()].filter((part) => part.layer === layer).sort((a, b) => a.index - b.index));
  const tallest = Math.max(1, ...columnsOf.map((column) => column.length));
  const step = Math.max(47, (wide - 60) / Math.max(1, layers.length - 1 || 1));
  const height = Math.max(300, tallest * 34 + 60);
  const nodes = new Map<string, Placed>();
  columnsOf.forEach((column, i) => column.forEach((part, j) => {
    // neighbours stand a little apart, so that an edge that passes a layer by is seen beside its nodes
    const lift = layers.length <= 2 || !Number.isFinite(part.layer) ? 0 : column.length === 1 ? LIFTS[i % LIFTS.length]! : i % 2 === 0 ? 13 : -13;
    nodes.set(part.id, { ...part, x: 30 + i * step, y: (height - 30) * ((j + 1) / (column.length + 1)) + lift });
  }));
  const label = (layer: number) => (layer < 0 ? "input" : layer === Infinity ? "logits" : String(layer));
  return {
    nodes: [...nodes.values()],
    edges: read.map((one) => ({ ...one, from: nodes.get(one.from.id)!, to: nodes.get(one.to.id)! })),
    columns: layers.map((layer, i) => ({ x: 30 + i * step, label: label(layer) })),
    width: Math.max(wide, 60 + step * Math.max(0, layers.length - 1)), height,
  };
}
