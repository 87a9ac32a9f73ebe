// Sizes of panes side by side, in pixels as last drawn; what is kept are their proportions.
export type Sizes = Record<string, number[]>;

/** Moves the border after pane `at` by `by`, as far as both its neighbours' least sizes allow. */
export function moved(sizes: number[], at: number, by: number, least: number[]): number[] {
  const a = sizes[at]!, b = sizes[at + 1]!;
  const low = Math.min(0, least[at]! - a), high = Math.max(0, b - least[at + 1]!);
  const step = Math.max(low, Math.min(high, by));
  return sizes.map((size, i) => (i === at ? a + step : i === at + 1 ? b - step : size));
}

/** Where a border stands between the least and the most it can, as shares of its two neighbours in percent. */
export function share(sizes: number[], at: number, least: number[]): { now: number; min: number; max: number } {
  const a = sizes[at] ?? 0, both = a + (sizes[at + 1] ?? 0);
  if (both <= 0) return { now: 50, min: 0, max: 100 };
  const percent = (size: number) => Math.round((100 * size) / both);
  const now = percent(a);
  return { now, min: Math.min(now, percent(least[at]!)), max: Math.max(now, percent(both - least[at + 1]!)) };
}

/** What was kept, or nothing where it is rubbish. */
export function readSizes(text: string | null): Sizes {
  let data: unknown;
  try {
    data = JSON.parse(text ?? "{}");
  } catch {
    return {};
  }
  if (typeof data !== "object" || data === null || Array.isArray(data)) return {};
  const good = (list: unknown) => Array.isArray(list) && list.length > 1 && list.every((n) => typeof n === "number" && Number.isFinite(n) && n > 0);
  return Object.fromEntries(Object.entries(data).filter(([, list]) => good(list))) as Sizes;
}
