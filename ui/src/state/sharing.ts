// A run file back on the page, and whether it still says the same bytes.
import { loadRun, type Replayed, replayRun, score } from "../api/calls";
import { sentence } from "../api/http";
import type { Edit, RunFile } from "../api/types";
import { add } from "../logic/tree";
import { startOver } from "./answering";
import { freshKey, page, type Run } from "./page";
import { loadSpecs } from "./steering";
import { createStore } from "./store";

export interface Replay {
  file: RunFile | null;
  state: "none" | "loading" | "replaying" | "done" | "failed";
  result: Replayed | null;
  error: string | null;
}
export const replay = createStore<Replay>({ file: null, state: "none", result: null, error: null });

/** A file has token numbers only: reading it once gives their text and what was likely at each place. */
async function readRun(file: RunFile, answer: { tokens: number[]; text: string }, edits: Edit[]): Promise<Run> {
  const reply = await score({ text: { tokens: [...file.tokens, ...answer.tokens], prompt_tokens: file.tokens.length, roles: file.roles }, edits, top: 8 });
  const placed = reply.prompt, from = file.tokens.length;
  return {
    key: freshKey("run"), prompt: placed.slice(0, from), text: answer.text, state: "done", ended: null, error: null,
    sampling: file.sampling, edits, specs: file.specs, ms: 0,
    generated: placed.slice(from).map((token) => {
      const logProb = reply.tokens[token.position]?.log_prob ?? 0;
      return { ...token, log_prob: logProb, probability: Math.exp(logProb), top: reply.tokens[token.position - 1]?.next ?? [] };
    }),
  };
}

async function place(file: RunFile): Promise<void> {
  startOver();
  const [plain, steered] = await Promise.all([
    readRun(file, file.plain, []), file.edited ? readRun(file, file.edited, file.edits) : Promise.resolve(null),
  ]);
  const text = file.messages === undefined;
  const turns = text
    ? [{ role: "user" as const, content: plain.prompt.map((token) => token.text).join("") }]
    : file.messages!.filter((message) => message.role !== "system");
  let parent: string | null = null;
  for (const message of turns) {
    const id: string = freshKey("turn");
    page.set((state) => ({ tree: add(state.tree, { id, parent, message, runs: null }) }));
    parent = id;
  }
  const id = freshKey("turn");
  page.set((state) => ({
    mode: text ? "text" : "chat", sampling: file.sampling,
    system: file.messages?.find((message) => message.role === "system")?.content ?? "",
    tree: add(state.tree, { id, parent, message: { role: "assistant", content: plain.text }, runs: { plain, steered } }),
  }));
  loadSpecs(file.specs);
}

export async function showRun(file: RunFile): Promise<void> {
  replay.set({ file, state: "replaying", result: null, error: null });
  try {
    const [, result] = await Promise.all([place(file), replayRun(file)]);
    if (replay.get().file === file) replay.set({ state: "done", result });
  } catch (error) {
    if (replay.get().file === file) replay.set({ state: "failed", error: sentence(error) });
  }
}

export async function openRun(id: string): Promise<void> {
  replay.set({ file: null, state: "loading", result: null, error: null });
  try {
    await showRun(await loadRun(id));
  } catch (error) {
    replay.set({ state: "failed", error: sentence(error) });
  }
}

export const closeReplay = (): void => replay.set({ file: null, state: "none", result: null, error: null });
