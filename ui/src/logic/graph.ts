// A graph laid out: tokens from left to right, layers from below to above, and what of it is shown.
import type { GraphLink, GraphNode, GraphReport } from "../api/graphtypes";

export interface Spot { x: number; y: number }
export interface Layout { spots: Spot[]; width: number; height: number; columns: { x: number; position: number }[]; rows: { y: number; label: string }[] }

/** Between two nodes of one place, between rows, and around. */
const STEP = 15, ROW = 23, LEFT = 48, TOP = 28, GAP = 26, MOST = 8;

/** Rows that have a node: tokens lowest, logits highest, layers without nodes left out. */
export function rowsOf(nodes: GraphNode[], shown: boolean[]): (number | "token" | "logit")[] {
  const layers = [...new Set(nodes.flatMap((node, i) => (shown[i] && node.layer !== null && node.layer !== undefined ? [node.layer] : [])))].sort((a, b) => a - b);
  return ["token", ...layers, "logit"];
}

const rowOf = (node: GraphNode): number | "token" | "logit" => (node.kind === "token" ? "token" : node.kind === "logit" ? "logit" : node.layer!);

/** In a frame of this width and at most this height; columns take the room that is there. */
export function layout(report: GraphReport, shown: boolean[], frame = { width: 0, tallest: 1 }): Layout {
  const rows = rowsOf(report.nodes, shown);
  // what stands at one place, the most influence first
  const places = new Map<string, number[]>();
  report.nodes.forEach((node, i) => {
    if (!shown[i]) return;
    const key = `${node.position} ${rowOf(node)}`;
    places.set(key, [...(places.get(key) ?? []), i]);
  });
  const wide = report.prompt.map((_, position) => Math.max(1, ...rows.map((row) => Math.min(row === "logit" ? 5 : MOST, places.get(`${position} ${row}`)?.length ?? 0))));
  const deep = rows.map((row) => Math.max(1, ...report.prompt.map((_, position) => Math.ceil((places.get(`${position} ${row}`)?.length ?? 0) / (row === "logit" ? 5 : MOST)))));
  const spots: Spot[] = report.nodes.map(() => ({ x: 0, y: 0 }));
  const columns: Layout["columns"] = [], labels: Layout["rows"] = [];
  const height = TOP + deep.reduce((sum, d) => sum + ROW + (d - 1) * STEP, 0) + 46;
  const widths = report.prompt.map((_, position) => Math.max(54, wide[position]! * STEP + GAP));
  const room = frame.width * Math.max(1, height / frame.tallest);
  const spare = Math.max(0, room - LEFT - 10 - widths.reduce((sum, one) => sum + one, 0)) / Math.max(1, widths.length);
  let x = LEFT;
  report.prompt.forEach((token, position) => {
    const width = widths[position]! + spare;
    columns.push({ x: x + width / 2, position: token.position });
    x += width;
  });
  let y = height - 58;
  rows.forEach((row, r) => {
    const lines = deep[r]!, most = row === "logit" ? 5 : MOST;
    labels.push({ y: y - ((lines - 1) * STEP) / 2, label: row === "token" ? "tokens" : row === "logit" ? "says" : `L${row}` });
    for (const { x: middle, position } of columns) {
      const here = places.get(`${position} ${row}`) ?? [];
      here.forEach((node, at) => {
        const line = Math.floor(at / most), inLine = Math.min(most, here.length - line * most);
        spots[node] = { x: middle + ((at % most) - (inLine - 1) / 2) * STEP, y: y - line * STEP };
      });
    }
    y -= ROW + (lines - 1) * STEP;
  });
  return { spots, width: x + 10, height, columns, rows: labels };
}

/** Nodes within the share, with tokens and logits that an edge within the share reaches. */
export function visible(report: GraphReport, nodeShare: number, edgeShare: number): { nodes: boolean[]; links: number[] } {
  const inside = report.nodes.map((node) => node.kind === "token" || node.kind === "logit" || node.held <= nodeShare);
  // the first of all is there however small the share
  const first = report.nodes.findIndex((node) => node.kind === "unit" || node.kind === "error");
  if (first >= 0 && !inside.some((is, i) => is && report.nodes[i]!.kind !== "token" && report.nodes[i]!.kind !== "logit")) inside[report.nodes.reduce((best, node, i) => (node.kind !== "token" && node.kind !== "logit" && node.held < report.nodes[best]!.held ? i : best), first)] = true;
  const links = report.links.flatMap((link, i) => (link.held <= edgeShare && inside[link.source] && inside[link.target] ? [i] : []));
  return { nodes: inside, links };
}

/** A node's edges in or out among the visible nodes, the largest first. */
export function edgesOf(report: GraphReport, node: number, end: "in" | "out", nodes: boolean[]): GraphLink[] {
  const ours = report.links.filter((link) => (end === "in" ? link.target === node && nodes[link.source] : link.source === node && nodes[link.target]));
  return ours.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
}

export interface Group { label: string; nodes: number[] }

/** What groups and single pinned nodes add to each other: the sum of the edges between their nodes. */
export function between(report: GraphReport, parts: { name: string; nodes: number[] }[]): { from: string; to: string; weight: number }[] {
  const of = new Map<number, number>();
  parts.forEach((part, p) => part.nodes.forEach((node) => of.set(node, p)));
  const sums = new Map<string, { from: number; to: number; weight: number }>();
  for (const link of report.links) {
    const from = of.get(link.source), to = of.get(link.target);
    if (from === undefined || to === undefined || from === to) continue;
    const key = `${from} ${to}`, sum = sums.get(key) ?? { from, to, weight: 0 };
    sum.weight += link.weight;
    sums.set(key, sum);
  }
  return [...sums.values()].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).map((s) => ({ from: parts[s.from]!.name, to: parts[s.to]!.name, weight: s.weight }));
}

/** The graph's file with what was pinned and grouped here, as other viewers read it. */
export function fileWith(file: string, report: GraphReport, pinned: number[], groups: Group[], clicked: number | null): unknown {
  const json = JSON.parse(file) as { qParams: Record<string, unknown> };
  const id = (node: number) => report.nodes[node]!.id;
  json.qParams = {
    ...json.qParams, pinnedIds: [...new Set([...pinned, ...groups.flatMap((group) => group.nodes)])].map(id),
    supernodes: groups.map((group) => [group.label, ...group.nodes.map(id)]), clickedId: clicked === null ? "" : id(clicked),
  };
  return json;
}

/** The node nearest in a direction, for the arrow keys; the same one where there is none. */
export function towards(spots: Spot[], shown: boolean[], from: number, key: string): number {
  const here = spots[from]!;
  const flat = key === "ArrowLeft" || key === "ArrowRight", sign = key === "ArrowLeft" || key === "ArrowUp" ? -1 : 1;
  let best = from, least = Infinity;
  spots.forEach((spot, i) => {
    if (i === from || !shown[i]) return;
    const along = sign * (flat ? spot.x - here.x : spot.y - here.y), aside = Math.abs(flat ? spot.y - here.y : spot.x - here.x);
    const cost = along + 3 * aside;
    if (along > 1 && cost < least) { least = cost; best = i; }
  });
  return best;
}
