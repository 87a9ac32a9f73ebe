// Shades of the lens' cells, and the changes that can be made at one.
import type { Edit, LensReply, SteerSpec } from "../api/types";
import { layerOf } from "./unitname";

export type LensColour = "probability" | "rank" | "kl";
type Cell = LensReply["rows"][number]["cells"][number];

/** 0 to 1; ranks and divergences on a log scale, since their first steps matter most. */
export function shade(cell: Cell, colour: LensColour, most: number): number {
  switch (colour) {
    case "probability": return Math.sqrt(cell.top[0]?.probability ?? 0);
    case "rank": {
      const rank = cell.watched[0]?.rank;
      return rank === undefined ? 0 : Math.max(0, 1 - Math.log10(Math.max(1, rank)) / 4);
    }
    case "kl": return most > 0 ? Math.max(0, 1 - Math.log1p(cell.kl) / Math.log1p(most)) : 0;
  }
}

/** Ranks are counted from 1 on the page. */
export const shownRank = (rank: number): string => `#${rank.toLocaleString("en-GB")}`;

/** Silence a layer at one place: what its attention and its MLP would add there. */
export function ablateCell(site: string, position: number, what: string): SteerSpec | null {
  const layer = layerOf(site);
  if (layer === null) return null;
  const edits = ["attn_out_post", "mlp_out_post"].map((point): Edit => ({ site: `${point}.${layer}`, target: "whole", positions: { at: [position] }, op: "zero" }));
  return { name: `layer ${layer} silenced at ${what}`, what: { edits }, change: { strength: 0 }, positions: { at: [position] } };
}

/** Put there what another prompt has at its own place. */
export function patchCell(site: string, position: number, tokens: number[], from: number, what: string): SteerSpec | null {
  const layer = layerOf(site);
  if (layer === null) return null;
  const edit: Edit = { site: `resid_post.${layer}`, target: "whole", positions: { at: [position] }, op: { patch_from: { tokens, from: { at: [from] } } } };
  return { name: `layer ${layer} at ${what} from another prompt`, what: { edits: [edit] }, change: { scale: 1 }, positions: { at: [position] } };
}

/** The columns that fit, ending with the newest tokens. */
export function window(length: number, columns: number, end: number | null): [number, number] {
  const to = Math.min(length, Math.max(end ?? length, Math.min(columns, length)));
  return [Math.max(0, to - columns), to];
}
