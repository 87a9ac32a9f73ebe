// Numbers to shades. The sign is never in the colour alone: tokens carry a mark under them too.
export interface Heat {
  kind: "signed" | "amount"; values: number[]; label: string;
  /** What a full shade stands for at least: without it, the largest value there is. */
  full?: number;
}

export interface Shade { strength: number; sign: "+" | "-" | "" }

/** Square root, so that the middle is seen: one huge value must not blank all others. */
export function shades(values: number[], full = 0): Shade[] {
  const most = values.reduce((max, value) => Math.max(max, Math.abs(value)), full);
  return values.map((value) => {
    const share = most > 0 && Number.isFinite(value) ? Math.abs(value) / most : 0;
    const strength = share < 0.01 ? 0 : Math.round(Math.sqrt(share) * 100) / 100;
    return { strength, sign: strength === 0 ? "" : value > 0 ? "+" : "-" };
  });
}

/** A polyline through `values` in a box; the zero line is inside when there are both signs. */
export function sparkline(values: number[], width: number, height: number): { line: string; zero: number } {
  const low = Math.min(0, ...values), high = Math.max(0, ...values);
  const span = high - low || 1;
  const y = (value: number) => height - 1 - ((value - low) / span) * (height - 2);
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  const line = values.map((value, i) => `${i === 0 ? "M" : "L"}${(i * step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return { line, zero: y(0) };
}

/** At most `cells` values, each the largest (by size) of its stretch: spikes must survive. */
export function thin(values: number[], cells: number): number[] {
  if (values.length <= cells) return values;
  return Array.from({ length: cells }, (_, i) => {
    let best = 0;
    const to = Math.floor(((i + 1) * values.length) / cells);
    for (let at = Math.floor((i * values.length) / cells); at < to; at++) {
      if (Math.abs(values[at]!) > Math.abs(best)) best = values[at]!;
    }
    return best;
  });
}
