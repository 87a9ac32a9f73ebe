// The graph of a prompt: what is asked, how far it is, what came of it, and what a reader pinned, grouped and zeroed.
import { graphEvents, zeroNodes, type GraphReply, type GraphRequest, type Zeroed } from "../api/graphtypes";
import type { LabStep } from "../api/labtypes";
import type { Group } from "../logic/graph";
import { stop as stopAsking, stoppable } from "./stopping";
import { createStore, useStore } from "./store";

export const MOST_NEURONS = 1000;

export interface GraphForm { prompt: string; target: string; foil: string; neurons: number; check: number; seed: number }
/** Nodes zeroed together: what they are called, what the graph predicts for the first output, and what happened. */
export interface Trial { name: string; predicted: number; result: Zeroed | null; error: unknown }

interface GraphState {
  form: GraphForm; asked: GraphRequest | null; state: "none" | "running" | "done" | "failed"; step: LabStep | null; reply: GraphReply | null; error: unknown;
  nodeShare: number; edgeShare: number; chosen: number | null; pinned: number[]; groups: Group[]; trial: Trial | null;
}

const FRESH = { chosen: null, pinned: [] as number[], groups: [] as Group[], trial: null, nodeShare: 1, edgeShare: 0.6 };

export const graph = createStore<GraphState>({
  form: { prompt: "The capital of Poland is", target: "", foil: "", neurons: 400, check: 10, seed: 0 },
  asked: null, state: "none", step: null, reply: null, error: null, ...FRESH,
});

export const useGraph = <T>(pick: (state: GraphState) => T): T => useStore(graph, pick);
export const setGraphForm = (change: Partial<GraphForm>): void => graph.set((state) => ({ form: { ...state.form, ...change } }));

/** Exactly what is asked. A word is one token, most often with the space before it; an empty field is none. */
export function graphRequest(form: GraphForm): GraphRequest {
  const word = (text: string) => (text === "" ? null : text);
  return { text: { prompt: form.prompt }, target: word(form.target), foil: word(form.foil), neurons: form.neurons, check: form.check, seed: form.seed };
}

export const stopGraph = (): void => stopAsking("lab graph");

export async function startGraph(): Promise<void> {
  stopGraph();
  const asked = graphRequest(graph.get().form);
  graph.set({ asked, state: "running", step: null, reply: null, error: null, ...FRESH });
  const mine = () => graph.get().asked === asked;
  try {
    await stoppable("lab graph", null, async (signal) => {
      for await (const event of graphEvents(asked, signal)) {
        if (!mine()) return;
        if (event.kind === "step") graph.set({ step: event.step });
        else graph.set({ state: "done", reply: event.reply, step: null });
      }
    });
  } catch (error) {
    if (mine()) graph.set({ state: "failed", error, step: null });
  }
}

export const choose = (chosen: number | null): void => graph.set({ chosen });
export const togglePin = (node: number): void => graph.set(({ pinned, groups }) => (groups.some((group) => group.nodes.includes(node))
  ? {} : { pinned: pinned.includes(node) ? pinned.filter((one) => one !== node) : [...pinned, node] }));
export const groupPinned = (): void => graph.set(({ pinned, groups }) => (pinned.length === 0 ? {} : { groups: [...groups, { label: `group ${groups.length + 1}`, nodes: pinned }], pinned: [] }));
export const renameGroup = (at: number, label: string): void => graph.set(({ groups }) => ({ groups: groups.map((group, i) => (i === at ? { ...group, label } : group)) }));
export const ungroup = (at: number): void => graph.set(({ groups, pinned }) => ({ groups: groups.filter((_, i) => i !== at), pinned: [...pinned, ...groups[at]!.nodes] }));

/** Sets neurons to zero, each at its token, runs the model and keeps what it says then. */
export async function zero(name: string, nodes: number[]): Promise<void> {
  const { reply, asked } = graph.get();
  if (!reply || !asked) return;
  const neurons = nodes.map((i) => reply.report.nodes[i]!).filter((node) => node.unit);
  const trial: Trial = { name, predicted: neurons.reduce((sum, node) => sum + node.predicted, 0), result: null, error: null };
  graph.set({ trial });
  try {
    const body = { text: asked.text, nodes: neurons.map((node) => ({ unit: node.unit!, position: node.position })) };
    const result = await stoppable("lab graph zero", null, (signal) => zeroNodes(body, signal));
    if (graph.get().trial === trial) graph.set({ trial: { ...trial, result } });
  } catch (error) {
    if (graph.get().trial === trial) graph.set({ trial: { ...trial, error } });
  }
}
