// Numbers for people. Rules: a sign on every effect, no false zero ("0%" only for exactly nothing), U+2212 for minus
// so that columns of tabular figures line up.
const MINUS = "\u2212";

function trimmed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** 0.6213 → "62%", 0.0004 → "0.04%", 1e-9 → "<0.0001%", 0.9997 → "99.97%". */
export function percent(p: number | null | undefined): string {
  if (p == null || !Number.isFinite(p)) return "–";
  if (p <= 0) return "0%";
  if (p >= 1) return "100%";
  const x = p * 100;
  if (x < 0.0001) return "<0.0001%";
  if (x < 0.1) return `${Number(x.toPrecision(1))}%`;
  if (x < 10) return `${trimmed(x, 1)}%`;
  if (x < 99) return `${Math.round(x)}%`;
  if (x < 99.9) return `${Math.floor(x * 10) / 10}%`;
  if (x < 99.99) return `${Math.floor(x * 100) / 100}%`;
  return ">99.99%";
}

/** Three significant figures at most, never a false zero. */
export function number(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : "";
  if (size >= 1e6 || size < 0.001) {
    return sign + size.toExponential(1).replace("-", MINUS).replace("+", "").replace(".0e", "e");
  }
  if (size >= 1000) return sign + Math.round(size).toLocaleString("en-GB");
  return sign + String(Number(size.toPrecision(size >= 100 ? 3 : size >= 1 ? 3 : 2)));
}

/** An effect: "+1.23", "−0.04"; exactly nothing is "0". */
export function signed(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? MINUS : "+";
  if (size < 0.001) return sign + size.toExponential(0).replace("-", MINUS);
  return sign + (size >= 100 ? Math.round(size).toLocaleString("en-GB") : size >= 0.1 ? size.toFixed(2) : size.toFixed(3));
}

/** A change of probability in points: "+12 points", "−0.3 points". */
export function points(change: number): string {
  const x = change * 100;
  if (x === 0) return "0 points";
  const size = Math.abs(x);
  const text = size < 0.01 ? "<0.01" : size < 1 ? size.toFixed(2) : size < 10 ? size.toFixed(1) : String(Math.round(size));
  return `${x < 0 ? MINUS : "+"}${text} points`;
}

/** Times a unit's own typical strength. */
export function times(value: number | null | undefined): string {
  return value == null ? "–" : `${number(value)}×`;
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString("en-GB")} ${n === 1 ? one : many}`;
}

export function interval(pair: [number, number] | null): string {
  return pair ? `${two(pair[0])} to ${two(pair[1])}` : "";
}

/** A correlation: two decimals. */
export function two(value: number | null | undefined): string {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value).toFixed(2);
  return (value < 0 && Number(size) !== 0 ? MINUS : "") + size;
}

export function seconds(ms: number): string {
  return ms < 950 ? `${Math.max(1, Math.round(ms / 10) * 10)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** How much alike a cluster's members are, in words; `chance` is the share of random groups of the size that are as close. */
export function coherence(value: number, chance: number | null): string {
  if (chance != null && chance > 0.05) return "no closer than chance";
  if (value >= 0.75) return "very close in meaning";
  if (value >= 0.55) return "close in meaning";
  return "loosely related";
}
