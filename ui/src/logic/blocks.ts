// The prompt's tokens, matched to the turns they came from.
import type { Message, Placed } from "../api/types";
import { type Segment, segments } from "./tokens";

export interface Block { segment: Segment; message: number | null }

/** Each segment with the index of its message. Template tokens, and a system prompt that the template brings of
 *  itself, have none. `known` is false where the server could not tell who wrote what. */
export function blocks(prompt: Placed[], messages: Message[]): { blocks: Block[]; known: boolean } {
  let next = 0;
  const out = segments(prompt).map((segment): Block => {
    if (segment.role === null) return { segment, message: null };
    // An empty turn has no tokens: look past it, but only to a turn of this writer.
    const found = messages.findIndex((message, i) => i >= next && message.role === segment.role);
    if (found < 0) return { segment, message: null };
    next = found + 1;
    return { segment, message: found };
  });
  return { blocks: out, known: out.some((block) => block.segment.role !== null) };
}
