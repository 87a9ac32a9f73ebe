// A run's tokens: where each stands, who wrote it, how it is shown and named.
import type { Placed, Role, Scored, TextSpec, Token } from "../api/types";

export interface Said extends Token { position: number; probability: number; log_prob: number; top: Scored[] }

/** Tokens of one writer in a row; `role` null: the template wrote them. */
export interface Segment { role: Role | null; from: number; to: number; tokens: Placed[] }

export function segments(tokens: Placed[]): Segment[] {
  const out: Segment[] = [];
  for (const token of tokens) {
    const role = token.role ?? null;
    const last = out.at(-1);
    if (last && last.role === role) {
      last.tokens.push(token);
      last.to = token.position + 1;
    } else {
      out.push({ role, from: token.position, to: token.position + 1, tokens: [token] });
    }
  }
  return out;
}

export function allTokens(run: { prompt: Placed[]; generated: Said[] }): Placed[] {
  const said = run.generated.map(({ position, id, text }): Placed => ({ position, id, text, role: "generated" }));
  return [...run.prompt, ...said];
}

export function exactText(run: { prompt: Placed[]; generated: Said[] }): TextSpec {
  const tokens = allTokens(run);
  return {
    tokens: tokens.map((token) => token.id),
    prompt_tokens: run.prompt.length,
    // Only the prompt's tokens have writers to be named; what was generated is known to be.
    roles: run.prompt.map((token) => token.role ?? null),
  };
}

/** Both ends in, any order → [from, to) within the text; null when empty. */
export function range(a: number, b: number, length: number): [number, number] | null {
  const from = Math.max(0, Math.min(a, b));
  const to = Math.min(length, Math.max(a, b) + 1);
  return from < to ? [from, to] : null;
}

export type Ranges = [number, number | null][];

/** "3, 5-8, 12-" → [[3,4],[5,9],[12,null]], sorted and merged; null when it is not that. Both ends are meant in. */
export function parseRanges(text: string): Ranges | null {
  const out: Ranges = [];
  for (const part of text.split(/[,;\s]+/).filter(Boolean)) {
    const match = /^(\d+)(?:(-|–|\.\.)(\d+)?)?$/.exec(part);
    if (!match) return null;
    const from = Number(match[1]);
    if (match[2] === undefined) out.push([from, from + 1]);
    else if (match[3] === undefined) out.push([from, null]);
    else if (Number(match[3]) < from) return null;
    else out.push([from, Number(match[3]) + 1]);
  }
  return out.length > 0 ? mergeRanges(out) : null;
}

export function mergeRanges(ranges: Ranges): Ranges {
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  const out: Ranges = [];
  for (const [from, to] of sorted) {
    const last = out.at(-1);
    if (last && (last[1] === null || from <= last[1])) {
      last[1] = last[1] === null || to === null ? null : Math.max(last[1], to);
    } else out.push([from, to]);
  }
  return out;
}

export function showRanges(ranges: Ranges): string {
  return ranges
    .map(([from, to]) => (to === null ? `${from}-` : to === from + 1 ? `${from}` : `${from}-${to - 1}`))
    .join(", ");
}

/** A token in running words (labels, sentences): in quotes, without the space that most words begin with. */
export function quoted(text: string): string {
  return `\u201c${visible(/^ \S/.test(text) ? text.slice(1) : text)}\u201d`;
}

export function visible(text: string): string {
  if (text === "") return "(nothing)";
  if (/^[^\S\n\r\t]+$/.test(text)) return "\u2423".repeat(text.length);
  return text.replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/\r/g, "␍");
}

/** In a list of tokens the leading space matters (" Paris" is not "Paris") but must not shout. */
export function spaced(text: string): string {
  return visible(text).replace(/^ /, "\u00b7");
}

export function roleName(role: Role | null): string {
  return role === null ? "Template" : role === "user" ? "You" : role === "system" ? "System" : "Model";
}

/** The place of the first token said that reads as `word`; "next" when it is not said yet. */
export function findWord(tokens: Placed[], promptLength: number, word: string): number | "next" {
  const wanted = word.trim();
  const found = tokens.find((token) => token.position >= promptLength && token.text.trim() === wanted);
  return found ? found.position : "next";
}
