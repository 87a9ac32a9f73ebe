/** What a page offers to begin with: questions for a chat, texts to go on with, and for a model of one layer texts like those it has seen, since it knows no facts. */
const QUESTIONS = ["What is the capital of France?", "Which is bigger: 9.8 or 9.11?", "Tell me a short story about Alice and Bob."];
const TEXTS = ["The capital of France is", "When Mary and John went to the store, John gave a drink to", "The keys to the cabinet"];
const SEEN = ["The Congress of the United", "The captain of the whale", "Content-Type: text/"];

export function examples(mode: string, layers: number | undefined): string[] {
  if (mode === "chat") return QUESTIONS;
  return layers === 1 ? SEEN : TEXTS;
}
