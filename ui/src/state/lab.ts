// The laboratory's form and what each method last found. It outlives the view, so that a look at a unit loses nothing.
import { labEvents } from "../api/lab";
import type {
  Asked, BehaviourReport, Choice, CircuitReply, CircuitRequest, Cut, DirectionMethod, DirectionReply, DirectionRequest, FunctionReply,
  FunctionRequest, KnockoutReply, KnockoutRequest, LabStep, LadderReply, LadderRequest, LensReply, NeuronsReply, NeuronsRequest, PatchPoint,
  PatchscopeReply, PatchscopeRequest, Source, TaskGate, TraceReply, TraceRequest,
} from "../api/labtypes";
import type { LabMethod } from "../logic/route";
import { stop as stopAsking, stoppable } from "./stopping";
import { createStore, useStore } from "./store";

/** The choice of items that are pasted. */
export const OWN = "own";
/** The methods that run a model once for each layer and place take fewer items than the others. */
export const mostItems = (method: LabMethod): number => (method === "behaviour" || method === "lens" || method === "neurons" || method === "direction" ? 256 : 64);

export interface Form {
  source: string; jsonl: string; items: number; seed: number; offTask: string;
  top: number; by: "direct" | "gradient";
  method: DirectionMethod; positions: number; layer: number | null; strength: number;
  scoring: "eap" | "eap_ig" | "clean_corrupted"; steps: number; ablation: Cut; choice: Choice; edges: number | null;
  at: PatchPoint | "paths"; towards: "denoise" | "noise"; corrupt: "counterfactual" | "noise"; window: number; ends: string; throughMlps: boolean;
  query: number; cutWindow: number;
  into: "text" | "target" | "back"; text: string; position: number; target: string; backBy: number; from: "last" | "subject"; every: number;
  task: string; pairs: string; shots: number; heads: number;
}

export interface Replies {
  behaviour: { shown: boolean }; lens: LensReply; trace: TraceReply; knockout: KnockoutReply; patchscope: PatchscopeReply | LadderReply;
  neurons: NeuronsReply; direction: DirectionReply; circuit: CircuitReply; function: FunctionReply;
}

export interface LabRun<M extends LabMethod = LabMethod> {
  state: "running" | "done" | "failed";
  asked: Question; step: LabStep | null; gate: BehaviourReport | TaskGate | null; reply: Replies[M] | null; error: unknown;
}

/** What a method is asked. */
export type Question = Asked | NeuronsRequest | DirectionRequest | CircuitRequest | TraceRequest | KnockoutRequest | PatchscopeRequest | LadderRequest | FunctionRequest;

type Runs = { [M in LabMethod]: LabRun<M> | null };

export const lab = createStore<{ form: Form } & Runs>({
  form: {
    source: "agreement", jsonl: "", items: 32, seed: 0, offTask: "", top: 8, by: "direct", method: "mean", positions: 1, layer: null,
    strength: 1, scoring: "eap_ig", steps: 5, ablation: "counterfactual", choice: "size", edges: null,
    at: "resid_pre", towards: "denoise", corrupt: "counterfactual", window: 1, ends: "logits", throughMlps: false, query: -1, cutWindow: 4,
    into: "text", text: "The Eiffel Tower is in the city of Paris", position: -1, target: "description", backBy: 4, from: "last", every: 3,
    task: "past", pairs: "", shots: 10, heads: 10,
  },
  behaviour: null, lens: null, trace: null, knockout: null, patchscope: null, neurons: null, direction: null, circuit: null, function: null,
});

export const useForm = (): Form => useStore(lab, (s) => s.form);
export const setForm = (change: Partial<Form>): void => lab.set((state) => ({ form: { ...state.form, ...change } }));
export const useRun = <M extends LabMethod>(method: M): Runs[M] => useStore(lab, (s) => s[method] as Runs[M]);

const nameOf = (method: LabMethod) => `lab ${method}`;

/** Exactly what a method is asked, from the form. */
export function request(method: LabMethod, form: Form): Question {
  const what: Source = form.source === OWN ? { jsonl: form.jsonl } : { behaviour: form.source };
  const items = Math.min(form.items, mostItems(method));
  const asked: Asked = { what, items, seed: form.seed };
  const off_task = form.offTask === "" ? null : form.offTask;
  switch (method) {
    case "behaviour": case "lens": return asked;
    case "trace": return {
      ...asked, direction: form.towards, window: form.window, noise: form.corrupt === "noise" ? { sigma: 3, samples: 4 } : null,
      ...(form.at === "paths" ? { to: form.ends.split(/[\s,]+/).filter(Boolean), through_mlps: form.throughMlps } : { at: [form.at] }),
    };
    case "knockout": return { ...asked, query: form.query, window: form.cutWindow };
    case "patchscope": return form.into === "text"
      ? { text: form.text, position: form.position, back_by: form.backBy, target: form.target, generate: 8 }
      : { ...asked, into: form.into, from: form.from, every: form.every };
    case "function": return { what: form.task === OWN ? { jsonl: form.pairs } : { task: form.task }, seed: form.seed, shots: form.shots, heads: form.heads };
    case "neurons": return { ...asked, top: form.top, by: form.by, off_task };
    case "direction": return { ...asked, method: form.method, positions: form.positions, layer: form.layer, strength: form.strength, off_task };
    case "circuit": {
      const scoring = form.scoring === "eap_ig" ? { eap_ig: { steps: form.steps } } : form.scoring;
      return { ...asked, scoring, ablation: form.ablation, by: form.choice, edges: form.edges, off_task };
    }
  }
}

export const stop = (method: LabMethod): void => stopAsking(nameOf(method));

/** Runs a method on what the form says; an earlier run of it ends. */
export async function start<M extends LabMethod>(method: M): Promise<void> {
  stop(method);
  const asked = request(method, lab.get().form);
  const mine: LabRun<M> = { state: "running", asked, step: null, gate: null, reply: null, error: null };
  let now = mine;
  // A later run takes the place; what comes for this one afterwards is dropped.
  const put = (change: Partial<LabRun<M>>) => {
    if (now !== mine && lab.get()[method] !== (now as unknown)) return false;
    now = { ...now, ...change };
    lab.set({ [method]: now } as Partial<Runs>);
    return true;
  };
  put({});
  try {
    await stoppable(nameOf(method), null, async (signal) => {
      for await (const event of labEvents<Replies[M]>("text" in asked ? "ladder" : method, asked, signal)) {
        const kept = event.kind === "step" ? put({ step: event.step }) : event.kind === "gate" ? put({ gate: event.gate })
          : put({ reply: event.reply, state: "done", step: null });
        if (!kept) return;
      }
    });
  } catch (error) {
    put({ state: "failed", error, step: null });
  }
}

/** The words of a run under way. */
export const progress = (step: LabStep | null): string =>
  step === null ? "Waiting for a turn…" : `${step.what[0]!.toUpperCase()}${step.what.slice(1)}${step.total > 0 ? `: ${step.done} of ${step.total}` : "…"}`;
