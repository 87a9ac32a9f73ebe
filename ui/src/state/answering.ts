// Sending, stopping, regenerating, branching: every way an answer comes to be.
import { sentence } from "../api/http";
import { steer } from "../api/calls";
import { generate } from "../api/stream";
import type { Edit, Message, Sampling, SteerSpec, TextSpec } from "../api/types";
import { allEdits } from "../logic/specs";
import type { Said } from "../logic/tokens";
import { add, change, choose, messagesUpTo, path, type Tree, upTo } from "../logic/tree";
import { client } from "./client";
import { freshKey, nothingChosen, page, type Run, type RunName, type Runs, viewedName } from "./page";

const stoppers = new Map<string, AbortController>();

export function stopAll(): void {
  for (const stopper of stoppers.values()) stopper.abort();
}

const emptyRun = (sampling: Sampling, edits: Edit[], specs: SteerSpec[]): Run => ({
  key: freshKey("run"), prompt: [], generated: [], text: "", state: "waiting", ended: null, error: null,
  sampling, edits, specs, ms: 0,
});

function setRun(turn: string, name: RunName, how: (run: Run) => Run): void {
  page.set((state) => ({
    tree: change(state.tree, turn, (node) => {
      const run = node.runs?.[name];
      if (!run) return node;
      const next = how(run);
      // What a later turn continues from is the answer that is looked at; see `continueFrom`.
      const message = name === "plain" ? { ...node.message, content: next.text } : node.message;
      return { ...node, message, runs: { ...node.runs!, [name]: next } };
    }),
  }));
}

function startRun(turn: string, name: RunName, run: Run): void {
  page.set((state) => ({
    tree: change(state.tree, turn, (node) => ({ ...node, runs: { plain: null, steered: null, ...node.runs, [name]: run } })),
  }));
}

/** Streams one run into its place. Tokens are gathered and drawn once a frame. */
async function stream(turn: string, name: RunName, text: TextSpec, run: Run): Promise<void> {
  const id = `${turn}/${name}`;
  stoppers.get(id)?.abort();
  const stopper = new AbortController();
  stoppers.set(id, stopper);
  startRun(turn, name, run);
  const began = performance.now();
  let fresh: Said[] = [], shown = "", frame = 0;
  const mine = (how: (now: Run) => Run) => setRun(turn, name, (now) => (now.key === run.key ? how(now) : now));
  const flush = () => {
    if (frame) cancelAnimationFrame(frame);
    frame = 0;
    if (fresh.length === 0 && shown === "") return;
    const said = fresh, more = shown;
    fresh = [];
    shown = "";
    mine((now) => ({ ...now, generated: [...now.generated, ...said], text: now.text + more }));
  };
  try {
    for await (const event of generate({ text, sampling: run.sampling, edits: run.edits, alternatives: 8 }, stopper.signal)) {
      if (event.kind === "prompt") {
        mine((now) => ({ ...now, prompt: event.prompt, state: "streaming" }));
      } else if (event.kind === "token") {
        const { position, token, top } = event;
        // Half a character: the piece that the text gained is truer than the token's own spelling.
        const piece = token.text.includes("\uFFFD") && event.shown !== "" ? event.shown : token.text;
        fresh.push({ position, id: token.id, text: piece, probability: token.probability, log_prob: token.log_prob, top });
        shown += event.shown;
        // Hidden windows draw no frames; a timer keeps the text whole there.
        frame ||= document.hidden ? (queueMicrotask(flush), 1) : requestAnimationFrame(flush);
      } else {
        flush();
        mine((now) => ({ ...now, state: event.ended === "cancelled" ? "stopped" : "done", ended: event.ended, text: event.text, ms: performance.now() - began }));
      }
    }
  } catch (error) {
    flush();
    if (stopper.signal.aborted) mine((now) => ({ ...now, state: "stopped", ended: "cancelled", ms: performance.now() - began }));
    else mine((now) => ({ ...now, state: "failed", error: sentence(error) }));
  } finally {
    if (stoppers.get(id) === stopper) stoppers.delete(id);
  }
}

export function activeSpecs(): SteerSpec[] {
  return page.get().specs.filter((listed) => listed.on).map((listed) => listed.spec);
}

export const steerQuery = (specs: SteerSpec[]) => ({
  queryKey: ["steer", specs], queryFn: ({ signal }: { signal: AbortSignal }) => steer({ specs }, signal),
});

/** The edits that the specs stand for; null (and a sentence on the panel) when they cannot be made. */
async function editsOf(specs: SteerSpec[]): Promise<Edit[] | null> {
  try {
    const edits = allEdits(await client.fetchQuery(steerQuery(specs)));
    page.set({ steeringError: edits.length === 0 ? "No unit fits what the steering asks for, so there is nothing to change." : null });
    return edits.length === 0 ? null : edits;
  } catch (error) {
    page.set({ steeringError: sentence(error) });
    return null;
  }
}

async function steered(turn: string, text: TextSpec, sampling: Sampling): Promise<void> {
  const specs = activeSpecs();
  if (specs.length === 0) return;
  const edits = await editsOf(specs);
  if (edits) await stream(turn, "steered", text, emptyRun(sampling, edits, specs));
}

/** The turns as said, each answer being the one looked at when the conversation went on. */
function textBelow(tree: Tree<Runs>, parent: string): TextSpec {
  const { mode, system } = page.get();
  if (mode === "text") return { prompt: tree.nodes[parent]?.message.content ?? "" };
  return { messages: messagesUpTo(tree, parent, system) };
}

/** A new answer under `parent`, beside those already there. */
async function answerBelow(parent: string, sampling: Sampling): Promise<string> {
  const id = freshKey("turn");
  page.set((state) => ({
    tree: add(state.tree, { id, parent, message: { role: "assistant", content: "" }, runs: { plain: null, steered: null } }),
    ...nothingChosen, viewing: "plain", shared: null,
  }));
  // The address names a shared run; from here on the conversation is another.
  if (location.hash.startsWith("#/run/")) location.hash = "#/";
  const text = textBelow(page.get().tree, parent);
  await Promise.all([stream(id, "plain", text, emptyRun(sampling, [], [])), steered(id, text, sampling)]);
  return id;
}

/** The conversation goes on from the run that is looked at. */
function continueFrom(): void {
  page.set((state) => {
    const turn = path(state.tree).at(-1);
    if (!turn?.runs) return {};
    const run = turn.runs[viewedName(turn, state.viewing)];
    return run ? { tree: change(state.tree, turn.id, (node) => ({ ...node, message: { ...node.message, content: run.text } })) } : {};
  });
}

export async function send(content: string): Promise<void> {
  stopAll();
  continueFrom();
  const { tree, mode, sampling } = page.get();
  const id = freshKey("turn");
  const parent = mode === "text" ? null : path(tree).at(-1)?.id ?? null;
  page.set({ tree: add(tree, { id, parent, message: { role: "user", content }, runs: null }), draft: mode === "text" ? content : "" });
  await answerBelow(id, sampling);
}

/** Edit and resend: the old turn and all below it stay as a branch. */
export async function resend(turn: string, content: string): Promise<void> {
  stopAll();
  const { tree, sampling } = page.get();
  const old = tree.nodes[turn];
  if (!old) return;
  const id = freshKey("turn");
  page.set({ tree: add(tree, { id, parent: old.parent, message: { role: old.message.role, content }, runs: null }) });
  if (old.message.role === "user") await answerBelow(id, sampling);
}

/** The same question again with the next seed (at temperature 0 the answer cannot differ). */
export async function regenerate(turn: string): Promise<void> {
  stopAll();
  const node = page.get().tree.nodes[turn];
  if (!node?.parent) return;
  const sampling = { ...page.get().sampling };
  const before = node.runs?.plain?.sampling;
  if (sampling.temperature > 0 && before) sampling.seed = before.seed + 1;
  page.set({ sampling });
  await answerBelow(node.parent, sampling);
}

/** The steered answer beside the plain one that is there: same prompt tokens, same seed. */
export async function runSteered(turn: string): Promise<void> {
  const plain = page.get().tree.nodes[turn]?.runs?.plain;
  if (!plain || plain.prompt.length === 0) return;
  const text: TextSpec = {
    tokens: plain.prompt.map((token) => token.id), prompt_tokens: plain.prompt.length,
    roles: plain.prompt.map((token) => token.role ?? null),
  };
  page.set({ shared: null });
  await steered(turn, text, plain.sampling);
}

export function dropSteered(turn: string): void {
  stoppers.get(`${turn}/steered`)?.abort();
  page.set((state) => ({
    viewing: "plain", shared: null,
    tree: change(state.tree, turn, (node) => ({ ...node, runs: { plain: null, ...node.runs, steered: null } })),
  }));
}

export function goToBranch(id: string): void {
  stopAll();
  page.set((state) => ({ tree: choose(state.tree, id), ...nothingChosen, viewing: "plain", shared: null }));
}

export function startOver(): void {
  stopAll();
  page.set({ tree: { nodes: {}, children: {}, chosen: {} }, ...nothingChosen, viewing: "plain", shared: null, story: null });
}

/** A conversation that begins afresh with these turns; the last is a user's. */
export async function ask(start: { messages?: Message[]; prompt?: string }, sampling: Sampling): Promise<void> {
  startOver();
  const text = start.prompt !== undefined;
  const turns = text ? [{ role: "user" as const, content: start.prompt! }] : (start.messages ?? []).filter((m) => m.role !== "system");
  const system = start.messages?.find((m) => m.role === "system")?.content ?? "";
  page.set({ mode: text ? "text" : "chat", system, sampling });
  let parent: string | null = null;
  for (const message of turns) {
    const id: string = freshKey("turn");
    page.set((state) => ({ tree: add(state.tree, { id, parent, message, runs: null }) }));
    parent = id;
  }
  if (parent !== null) await answerBelow(parent, sampling);
}

/** Messages of the current answer, for the run file. */
export function messagesOf(turn: string): Message[] | null {
  const { tree, mode, system } = page.get();
  const parent = tree.nodes[turn]?.parent ?? null;
  return mode === "text" || upTo(tree, parent).length === 0 ? null : messagesUpTo(tree, parent, system);
}
