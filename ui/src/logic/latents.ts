// Numbers of a dictionary's latents: histograms, orders, shades, and which points a drawn line encloses.
import type { LatentsReply } from "../api/dictionary";

export interface Bar { low: number; high: number; count: number }

/** Equal bins of `width` whose edges are multiples of it, from the first that holds a value to the last. */
export function bars(values: Iterable<number>, width: number): Bar[] {
  const counts = new Map<number, number>();
  let first = Infinity, last = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    const bin = Math.floor(value / width + 1e-9);
    counts.set(bin, (counts.get(bin) ?? 0) + 1);
    first = Math.min(first, bin);
    last = Math.max(last, bin);
  }
  if (counts.size === 0) return [];
  return Array.from({ length: last - first + 1 }, (_, i) => ({ low: (first + i) * width, high: (first + i + 1) * width, count: counts.get(first + i) ?? 0 }));
}

/** Log10 of the share of tokens; minus infinity for a latent that was never active. */
export const decades = (data: LatentsReply): number[] => data.active.map((n) => Math.log10(n / Math.max(1, data.tokens)));

export type Colour = "density" | "score" | "most" | "none";
export type SortBy = "near" | "index" | "score" | "density" | "most";
export interface Order { by: SortBy; down: boolean }

/** What a latent is sorted and coloured by; none where that is not known. */
export function valueOf(data: LatentsReply | null, by: SortBy | Colour, latent: number): number | null {
  if (by === "index") return latent;
  if (data === null) return null;
  if (by === "density") return data.active[latent]! / Math.max(1, data.tokens);
  if (by === "most") return data.most[latent]!;
  return by === "score" ? data.score[latent] ?? null : null;
}

/** Those without a value stay at the end, whichever way; equal ones go by index. */
export function ordered(latents: number[], data: LatentsReply | null, order: Order): number[] {
  if (order.by === "near") return latents;
  const values = new Map(latents.map((latent) => [latent, valueOf(data, order.by, latent)]));
  const way = order.down ? -1 : 1;
  return [...latents].sort((a, b) => {
    const [x, y] = [values.get(a) ?? null, values.get(b) ?? null];
    if (x === null || y === null) return Number(x === null) - Number(y === null) || a - b;
    return (x - y) * way || a - b;
  });
}

export const SHADES = 24;

/** A shade for each latent, from 0 to SHADES − 1; −1 for one that has no value. The scale runs between `ends`; outer ones share the outer shades. */
export interface Shading { shades: Int8Array; ends: [number, number]; log: boolean }

export function shading(count: number, data: LatentsReply | null, colour: Colour): Shading {
  const log = colour === "density" || colour === "most";
  const values = Array.from({ length: count }, (_, i) => {
    const value = colour === "none" ? null : valueOf(data, colour, i);
    return value === null || (log && value <= 0) ? NaN : log ? Math.log10(value) : value;
  });
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  // a few that lie far out would leave one shade for all others
  const [low, high] = colour === "score" ? [0, 1] : [at(0.01), at(0.99)];
  const span = high - low || 1;
  const shades = Int8Array.from(values, (value) => (Number.isNaN(value) ? -1 : Math.max(0, Math.min(SHADES - 1, Math.floor(((value - low) / span) * SHADES)))));
  return { shades, ends: log ? [10 ** low, 10 ** high] : [low, high], log };
}

/** Colours of SHADES steps through three given ones, each `[r, g, b]`. */
export function ramp(stops: [number, number, number][]): string[] {
  return Array.from({ length: SHADES }, (_, i) => {
    const at = (i / (SHADES - 1)) * (stops.length - 1), from = Math.min(stops.length - 2, Math.floor(at)), share = at - from;
    const mixed = stops[from]!.map((c, k) => Math.round(c + (stops[from + 1]![k]! - c) * share));
    return `rgb(${mixed.join(" ")})`;
  });
}

/** Points inside a closed line, by crossings to the right. */
export function inside(line: [number, number][], x: ArrayLike<number>, y: ArrayLike<number>): number[] {
  if (line.length < 3) return [];
  const left = Math.min(...line.map((p) => p[0])), right = Math.max(...line.map((p) => p[0]));
  const low = Math.min(...line.map((p) => p[1])), high = Math.max(...line.map((p) => p[1]));
  const found: number[] = [];
  for (let i = 0; i < x.length; i++) {
    const [px, py] = [x[i]!, y[i]!];
    if (px < left || px > right || py < low || py > high) continue;
    let within = false;
    for (let a = 0, b = line.length - 1; a < line.length; b = a++) {
      const [ax, ay] = line[a]!, [bx, by] = line[b]!;
      if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) within = !within;
    }
    if (within) found.push(i);
  }
  return found;
}

/** The nearest point within `reach`, of those that `counts` says yes to. */
export function nearestTo(px: number, py: number, reach: number, x: ArrayLike<number>, y: ArrayLike<number>, counts?: Uint8Array | null): number | null {
  let best: number | null = null, least = reach * reach;
  for (let i = 0; i < x.length; i++) {
    if (counts && !counts[i]) continue;
    const dx = x[i]! - px, dy = y[i]! - py, away = dx * dx + dy * dy;
    if (away < least) { least = away; best = i; }
  }
  return best;
}
