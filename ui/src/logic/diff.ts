// Two answers to the same prompt.
export interface Ided { id: number }

/** Index of the first token that differs; null when they are the same to the end. */
export function firstDifference(a: readonly Ided[], b: readonly Ided[]): number | null {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) if (a[i]!.id !== b[i]!.id) return i;
  return a.length === b.length ? null : shared;
}

export interface Shift { position: number; plain: number; edited: number; change: number }

/** Tokens of one text whose log-probability two runs put differently, largest change first. */
export function shifts(plain: (number | null)[], edited: (number | null)[], from = 0): Shift[] {
  const out: Shift[] = [];
  for (let position = from; position < Math.min(plain.length, edited.length); position++) {
    const a = plain[position], b = edited[position];
    if (a == null || b == null) continue;
    out.push({ position, plain: a, edited: b, change: b - a });
  }
  return out.sort((a, b) => Math.abs(b.change) - Math.abs(a.change) || a.position - b.position);
}

/** How the steered answer stands to the plain one, in a sentence. */
export function differenceSentence(plain: readonly Ided[], steered: readonly Ided[]): string {
  const at = firstDifference(plain, steered);
  if (at === null) return "Both answers are the same, token for token.";
  if (at === 0) return "The answers differ from the first token.";
  if (at >= Math.min(plain.length, steered.length)) {
    return `The answers are the same for ${at} tokens; then one goes on and the other stops.`;
  }
  return `The answers are the same for ${at} ${at === 1 ? "token" : "tokens"} and differ from there.`;
}
