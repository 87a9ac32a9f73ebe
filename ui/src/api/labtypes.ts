// What the laboratory asks and answers; agree.ts holds it to the server's document, as types.ts.

export interface Interval { value: number; low: number; high: number; n: number }
export interface Gate { behaviour: string; accuracy: Interval; chance: number; log_odds: Interval; shown: boolean; left_out: number }
export interface Item { prompt: string; counterfactual?: string; right: string[]; wrong: string[]; class?: string; group?: string; chat?: boolean }
export interface LabBehaviour { name: string; about: string; classes: boolean; example: Item }
export interface LabStep { what: string; done: number; total: number }
export interface BehaviourReport { gate: Gate; sentence: string; seed: number; items: (Item & { log_odds: number })[] }

export type Source = { behaviour: string } | { jsonl: string };
export interface Asked { what: Source; items: number; seed: number }

// ---------------------------------------------------------------- POST /api/lab/neurons
export interface NeuronsRequest extends Asked { top?: number; by?: "direct" | "gradient"; off_task?: string | null; unit?: string | null; factors?: number[] }
export interface Changes { zero: Interval; mean: Interval; resample: Interval | null; accuracy: Interval }
export interface NeuronMeasured { unit: string; change: Changes; off_task: Interval; random: string; random_change: Changes }
export interface Dose { factor: number; log_odds: Interval; by_class: Record<string, number>; accuracy: Interval }
export interface Correlation { rho: number; low: number; high: number; n: number }
export interface NeuronsReport {
  gate: Gate; off_task: Gate | null; by: "direct" | "gradient";
  ranked: { unit: string; direct: number; gradient: number; activation: number }[];
  measured: NeuronMeasured[];
  direct_rank_correlation: Correlation | null; gradient_rank_correlation: Correlation | null;
  groups: { k: number; change: Changes; off_task: Interval; random_change: Changes }[];
  unit: string | null; doses: Dose[];
}
export interface NeuronsReply { shown: boolean; report: NeuronsReport | null }

// ---------------------------------------------------------------- POST /api/lab/direction
export type DirectionMethod = "mean" | "pairs" | "pca" | "logistic";
export interface DirectionRequest extends Asked {
  method: DirectionMethod; winsorise?: number | null; positions?: number | null; layer?: number | null; strength?: number | null; off_task?: string | null;
}
export interface Candidate { position: number; layer: number; ablation: number; steering: number; kl: number }
export interface DirectionOutcome {
  kind: "add" | "affine" | "raw"; random: boolean; accuracy: Interval; change: Interval; changes: number[];
  wrong_way: Interval; off_task_kl: Interval; off_task_loss: Interval;
}
export interface DirectionReport {
  gate: Gate; classes: string[]; fitted_on: number; chosen_on: number; tested_on: number; strength: number; off_task: Gate;
  candidates: Candidate[]; rule_passed: boolean;
  tested: { position: number; layer: number; length: number; before: Interval; log_odds_before: Interval; outcomes: DirectionOutcome[] };
}
export interface DirectionReply { shown: boolean; report: DirectionReport | null; vector: number[] | null }
// POST /api/lab/read
export interface Reading { tokens: string[]; projections: number[][] }

// ---------------------------------------------------------------- POST /api/lab/circuit
export type Scoring = "eap" | "clean_corrupted" | { eap_ig: { steps: number } };
export type Cut = "counterfactual" | "mean" | "zero";
export type Choice = "size" | "signed" | "greedy";
export interface CircuitRequest extends Asked { scoring: Scoring; ablation: Cut; by: Choice; edges?: number | null; off_task?: string | null }
export interface CircuitMeasured { edges: number; alive: number; faithfulness: number; log_odds: Interval; accuracy: Interval; kl: number }
export interface CircuitPoint { fraction: number; circuit: CircuitMeasured; complement: CircuitMeasured; random: CircuitMeasured; off_task: CircuitMeasured | null }
export interface CircuitReport {
  gate: Gate; off_task: Gate; scoring_seconds: number | null; ablation: Cut; by: Choice; edges: number; fitted_on: number; tested_on: number;
  skeleton: { points: CircuitPoint[]; cpr: number; cmd: number };
  nodes: { node: string; score: number; together: CircuitMeasured }[];
  circuit: Edge[];
}
export interface Edge { edge: string; score: number }
/** `report.circuit` holds the foremost of `size` edges; `file` all of them, as EAP-IG and MIB read them. */
export interface CircuitReply { shown: boolean; report: CircuitReport | null; size: number; file: string | null }

// ---------------------------------------------------------------- POST /api/lab/lens
export interface Wins { site: string; above_wrong: Interval; top: Interval; stranger_top: Interval | null; log_odds: Interval; entropy: Interval; median_rank: number }
export interface LensReport { gate: Gate; lens: string; depths: Wins[]; wins_at: { item: number; site: string | null }[]; median_wins_at: string | null }
export interface LensReply { shown: boolean; report: LensReport | null }

// ---------------------------------------------------------------- POST /api/lab/trace
export type PatchPoint = "resid_pre" | "resid_mid" | "attn_out_post" | "mlp_out_post" | "z";
export interface TraceRequest extends Asked {
  at?: PatchPoint[]; direction?: "denoise" | "noise"; noise?: { sigma: number; samples: number } | null; window?: number | null;
  position?: number | null; to?: string[]; from?: string | null; through_mlps?: boolean;
}
export interface TraceCell { site: string; head: number | null; position: number | null; recovered: Interval; control: Interval | null }
export interface TraceReport {
  gate: Gate; direction: "denoise" | "noise"; corruption: string; window: number; items: number; left_out: number; clean: Interval; corrupted: Interval;
  positions: { position: number; text: string; counterfactual: string | null }[];
  grids: { point: string; cells: TraceCell[] }[];
  receivers: string[]; paths: { site: string; head: number | null; recovered: Interval; control: Interval | null }[];
}
export interface TraceReply { shown: boolean; report: TraceReport | null }

// ---------------------------------------------------------------- POST /api/lab/knockout
export interface KnockoutRequest extends Asked { query?: number | null; window?: number | null }
export interface KnockedOut { layer: number; key: number; change: Interval; accuracy: Interval; control: Interval | null }
export interface KnockoutReport { gate: Gate; query: number; window: number; items: number; left_out: number; tokens: { id: number; text: string }[]; cut: KnockedOut[] }
export interface KnockoutReply { shown: boolean; report: KnockoutReport | null }

// ---------------------------------------------------------------- POST /api/lab/patchscope
export interface PatchscopeRequest extends Asked { into: "target" | "back"; target?: string | null; from?: "last" | "subject"; every?: number | null }
export interface PatchGridReport {
  gate: Gate; target: string | null; from: "last" | "subject"; items: number; plain: Interval; direct: Interval | null; unpatched: Interval;
  cells: { source: string; target: string; right: Interval; control: number }[];
}
export interface BackGridReport {
  gate: Gate; from: "last" | "subject"; items: number; plain: Interval; some_pair: Interval; some_pair_control: Interval;
  cells: { source: string; target: string; right: Interval; corrected: Interval; kept: Interval; control: number }[];
}
export interface PatchscopeReply { shown: boolean; report: PatchGridReport | null; back: BackGridReport | null }
// POST /api/lab/ladder
export interface LadderRequest { text: string; position?: number | null; follow?: string | null; back_by?: number | null; target?: string | null; generate?: number | null }
export interface Said { top: number; top_probability: number; probability: number; rank: number }
export interface LadderReply {
  ladder: {
    prompt: { position: number; text: string }[]; position: number; watched: number; back_by: number; unpatched: Said;
    rungs: { site: string; logit: Said; fitted: Said | null; patchscope: Said; back: Said | null }[]; texts: Record<string, string>;
  };
  readings: { target: { text: string }[]; target_position: number; unpatched: string; readings: { source: string; target: string; text: string; next: { text: string }; probability: number }[] };
}

// ---------------------------------------------------------------- GET /api/lab/tasks, POST /api/lab/function
export interface LabTask { name: string; about: string; pairs: number }
export interface FunctionRequest {
  what: { task: string } | { jsonl: string }; seed: number; shots?: number | null; heads?: number | null; means?: number | null; trials?: number | null; strengths?: number[] | null;
}
export interface TaskGate {
  task: string; shots: number; shown: number; asked: number; left_out: number; with_examples: Interval; with_shuffled: Interval; bare: Interval; learns: boolean; sentence: string;
}
export interface FunctionReport extends TaskGate {
  settings: { shots: number; means: number; trials: number; heads: number };
  heads: { layer: number; head: number; effect: number }[];
  layer: number; strength: number; tried: { layer: number; strength: number; accuracy: Interval }[];
  with_vector: Interval; with_random_heads: Interval; with_random: Interval;
}
export interface FunctionReply { shown: boolean; report: FunctionReport | null }
