// The server's JSON, as the page uses it: agree.ts holds these types to schema.ts, which is generated from the server's
// OpenAPI document (`cargo xtask ui types`). Every request body is JSON; every failure is
// `{"error": {"code": string, "message": string}}` with a status of 400 (bad request), 401 (token missing),
// 404, 413 (too large), 429 (busy: `retry-after` header), 500 or 503 (shutting down).

export type Role = "system" | "user" | "assistant" | "generated";

export interface Message { role: "system" | "user" | "assistant"; content: string }

export interface Token { id: number; text: string }

/** A token of a text. `role` is missing where nobody is known to have written it (template tokens). */
export interface Placed { position: number; id: number; text: string; role?: Role }

export interface Scored { id: number; text: string; log_prob: number; probability: number }

/** The text that a request works on: exactly one of these three forms. */
export type TextSpec =
  | { messages: Message[]; prefill?: string }
  | { prompt: string }
  | { tokens: number[]; prompt_tokens: number; roles: (Role | null)[] };   // exact tokens: prompt, then what was generated; one role for each of the prompt's tokens, or none

export type Positions = "all" | { at: number[] } | { range: [number, number | null] } | { role: Role };

/** One change to a run: exactly the edit of `pellucid run --edit FILE` (docs/json.md, docs/edits.md). */
export interface Edit {
  site: string;                                               // "mlp_act.3"
  target?: "whole" | { units: number[] } | { heads: number[] } | { latents: { dictionary: string; indices: number[] } } | { error: { dictionary: string } };
  positions?: Positions;
  op:
    | "zero" | { set: number[] } | { scale: number } | { add: number[] }
    | { clamp: { min: number | null; max: number | null } }
    | { mean: { values: number[]; of: string } }
    | { project_out: { direction: number[]; centre?: number[] } }
    | { patch: { rows: number[][] } }
    | { patch_from: { tokens: number[]; from: Positions } };
}

// ---------------------------------------------------------------- GET /api/status
export interface Status {
  pellucid: string;                                           // version
  model: {
    name: string; path: string; sha256: string; tokenizer_hash: string; architecture: string; storage: string;
    layers: number; d_model: number; d_mlp: number; heads: number; vocabulary: number; context: number;
    chat: boolean;                                            // it has a usable chat template
  };
  atlas: null | {                                             // null: no atlas of this model yet
    path: string; units: number; sides: number; described: number; tokens: number;
    corpus: string; partial: boolean;                         // partial: described < sides, still growing or stopped early
    embeddings: boolean;                                      // search by meaning works
  };
  dictionaries: { name: string; site: string; latents: number; described: number | null }[]; // described: null without an atlas
  builds: boolean;                                            // an atlas can be built from here
  llm: boolean;                                               // a language-model endpoint stands behind the guide
  limits: { prompt_tokens: number; generated_tokens: number; edits: number };
  load: { running: number; waiting: number; capacity: number };
}

// ---------------------------------------------------------------- POST /api/generate   (server-sent events)
export interface Sampling {
  max_tokens: number; temperature: number; top_k?: number | null; top_p?: number | null; min_p?: number | null;
  repetition?: number; seed: number; stop?: string[];
}
export interface GenerateRequest { text: TextSpec; sampling: Sampling; edits: Edit[]; alternatives: number }
// event: prompt   data: {"prompt": Placed[]}
// event: token    data: {"position": number, "token": Scored, "shown": string, "top": Scored[]}   top: what it chose from, likeliest first
// event: done     data: {"ended": Ended, "ended_by": string | null, "text": string}
// event: failed   data: {"error": {"code", "message"}}
// Closing the connection stops the generation.
export type Ended = "end_of_text" | "stop_text" | "length" | "context_full" | "cancelled";

// ---------------------------------------------------------------- POST /api/score
/** The text read once: what was likely at each place. */
export interface ScoreRequest { text: TextSpec; edits: Edit[]; top: number }
export interface ScoreReply {
  prompt: Placed[];
  /** per position: log-probability of this token given what is before it (null at 0), and the likeliest NEXT tokens after it */
  tokens: { position: number; log_prob: number | null; next: Scored[] }[];
}

// ---------------------------------------------------------------- descriptions
export interface Words {
  text: string; explainer: string;                            // who wrote them
  score: number | null;                                       // simulation r on held-out text
  interval: [number, number] | null;                          // 95%
  null: number | null;                                        // the same with another unit's words
  interesting: boolean | null;
}

// ---------------------------------------------------------------- POST /api/explain
/** Why this token? `position` is the token AFTER which the target is said: to explain the token at i, position = i − 1, target = its id. */
export interface Metric { position: number; target?: number | null; foil?: number | null }
export interface ExplainRequest {
  text: TextSpec; edits: Edit[]; metric: Metric;
  positions?: [number, number] | null;                        // only effects at tokens from ≤ p < to
  by?: Sum;                                                   // default "unit"
  dictionary?: string | null;                                 // of latents: whose; the only one if null
  units?: number;                                             // how many (default 300)
  score?: number;                                             // least description score to be clustered (default 0.2)
  seed?: number;
}
export type Sum = "unit" | "head" | "layer" | "latent";
/** Of latents: what their dictionary's site does in all; latents + error + constant = whole. */
export interface RowEffect { dictionary: string; site: string; whole: number; latents: number; error: number; constant: number }
export interface Explained { position: number; target: Token; foil: Token | null; value: number; probability: number }
export interface ExplainReply {
  prompt: Placed[];                                           // the text up to the metric's position
  metric: Explained;
  tokens: number[];                                           // signed effect of each input token (embeddings) on the metric
  units: UnitEffect[];                                        // by |effect|
  row?: RowEffect;
  clusters: Cluster[];                                        // [] without an atlas
  looked_at: number; described: number;
}
export interface UnitEffect {
  unit: string | null;                                        // "mlp_act.3/1054+", a head "z.3/h5", null for a layer's part
  site: string; layer: number;
  effect: number; share: number;                              // summed over positions; share of the metric
  peak: number; effect_at_peak: number; activation: number | null;
  relative: number | null;                                    // activation by the unit's typical strength; null without atlas
  by_position: number[];                                      // signed effect at each position
  words: Words | null;
}
export interface Cluster {
  label: string; effect: number; coherence: number; chance: number | null;
  by_position: number[];                                      // signed effect at each position
  members: string[];                                          // unit ids, all of them in `units`
}

// ---------------------------------------------------------------- POST /api/ablate
/** Do it and look: a group removed, and random groups of the same size from the same layers. */
export interface AblateRequest { text: TextSpec; edits: Edit[]; metric: Metric; units: string[]; draws?: number; seed?: number }
export interface Outcome { value: number; probability: number; top: Scored[] }
export interface AblateReply { plain: Outcome; without: Outcome; random: Outcome[]; predicted: number /* change of value */ }

// ---------------------------------------------------------------- POST /api/activations
export interface ActivationsRequest {
  text: TextSpec; edits: Edit[];
  positions?: [number, number] | null; layers?: [number, number] | null; // inclusive layers
  polarity?: "+" | "-" | null; words?: string | null;         // words: the description holds this text
  least?: number;                                             // least relative activation (default 1; ignored without atlas)
  top?: number;                                               // default 300
}
export interface ActivationsReply {
  prompt: Placed[];
  heat: number[];                                             // per position: sum of relative activations of all units beyond `least`
  found: number;                                              // how many fit before `top`
  units: ActiveUnit[];
}
export interface ActiveUnit {
  unit: string; layer: number; peak: number; activation: number; relative: number | null;
  by_position: number[];                                      // relative (raw without atlas) at each position, 0 on the other side of zero
  words: Words | null;
}

// ---------------------------------------------------------------- POST /api/compare
/** One text read twice, plain and with the edits truly applied. */
export interface CompareRequest { text: TextSpec; edits: Edit[]; positions?: [number, number] | null; top?: number }
export interface CompareReply {
  prompt: Placed[];
  plain: (number | null)[]; edited: (number | null)[];        // log-probability of each token
  kl: number[];                                               // KL(plain ‖ edited) of the next-token distribution after each position, nats
  units: { unit: string; layer: number; peak: number; plain: number[]; edited: number[]; change: number; edited_directly: boolean; words: Words | null }[];
}

// ---------------------------------------------------------------- POST /api/steer
/** What the user asked for, turned into plain edits. */
export interface SteerSpec {
  name: string;
  what: { concept: { text: string; k: number; score?: number; dictionary?: string } } | { units: string[] } | { edits: Edit[] };
  change: { strength: number } | { scale: number };           // strength: 0 is off, 1 the unit's typical strength; scale: factor on what it is
  positions: Positions;
}
export interface SteerRequest { specs: SteerSpec[] }
export interface SteerReply { specs: { name: string; edits: Edit[]; units: Found[] }[] }

// ---------------------------------------------------------------- POST /api/find
export interface FindRequest {
  query: string; words?: boolean; dictionary?: string | null;                            // words: must contain them; else by meaning
  k?: number; layers?: [number, number] | null; polarity?: "+" | "-" | null; score?: number | null;
  sort?: "nearest" | "score" | "density" | "unit";
}
export interface Found { unit: string; layer: number; description: string; similarity: number | null; score: number | null; density: number }
// reply: Found[]

// ---------------------------------------------------------------- POST /api/lens
export interface LensRequest { text: TextSpec; edits: Edit[]; positions: [number, number]; watch: number[]; top: number; sub_blocks?: boolean }
export interface Ranked { id: number; text: string; probability: number; rank: number }
export interface LensReply {
  prompt: Placed[]; positions: number[];
  rows: { site: string; cells: { top: Ranked[]; watched: Ranked[]; kl: number; entropy: number }[] }[];   // first layer first
}

// ---------------------------------------------------------------- GET /api/unit?unit=mlp_act.3/1054&examples=8
export interface UnitReply {
  unit: string; site: string; layer: number; index: number;
  statistics: { count: number; mean: number; deviation: number; min: number; max: number } | null;
  promoted: [string, number][]; suppressed: [string, number][]; // output tokens, for a positive activation
  sides: Side[];                                              // [] without atlas
}
export interface Side {
  polarity: "+" | "-"; scale: number; density: number;
  histogram: { low: number; high: number; count: number }[];  // |activation| on this side, log-spaced bins
  descriptions: {
    id: number; text: string | null; reason: string | null;   // one of the two
    explainer: string; chosen: boolean; score: number | null; interval: [number, number] | null; null: number | null;
    interesting: boolean | null; single_token: number | null; scores: { kind: string; value: number }[]; up: number; down: number;
  }[];
  exemplars: { kind: string; split: string; value: number; tokens: { text: string; activation: number; counted: boolean }[] }[]; // kind: "top", "band 0.9-0.99", "random"
  nearest: Found[];
}
// POST /api/unit/test   {unit, text: TextSpec} -> {prompt: Placed[], values: number[], scale: {"+": number, "-": number} | null}
// POST /api/unit/describe {unit: "mlp_act.3/1054+", text, author} -> {id}
// POST /api/unit/vote   {id, dictionary?: string, voter, up: boolean} -> {up, down}

// ---------------------------------------------------------------- GET /api/stories, POST /api/stories/gate
export interface Story {
  id: string; title: string; about: string;                   // about: one or two sentences
  from: "monitor" | "pellucid";
  messages?: Message[]; prompt?: string;                      // what to ask
  max_tokens: number;
  steps: { title: string; text: string; action?: StoryAction }[];
}
export type StoryAction =
  | { do: "ask" } | { do: "explain"; token: string }          // the first generated (or next) token whose trimmed text is this
  | { do: "activations"; from: number; to: number }
  | { do: "steer"; spec: SteerSpec } | { do: "open_clusters" } | { do: "lens" }
  | { do: "lab"; method: "behaviour" | "lens" | "trace" | "knockout" | "patchscope" | "neurons" | "direction" | "circuit" | "function"; behaviour?: string; items?: number; task?: string; at?: string; text?: string };
export interface GateReply { id: string; shows: boolean; sentence: string; evidence: { prompt: string; answer: string; holds: boolean }[] }

// ---------------------------------------------------------------- runs: POST /api/runs, GET /api/runs/{id}, POST /api/runs/replay
export interface RunFile {
  pellucid: string; model: { name: string; sha256: string; tokenizer_hash: string };
  messages?: Message[]; tokens: number[]; roles: (Role | null)[];   // the prompt's tokens
  sampling: Sampling; specs: SteerSpec[]; edits: Edit[];
  plain: { tokens: number[]; text: string }; edited: { tokens: number[]; text: string } | null;
}
// POST /api/runs {run} -> {id}; GET -> RunFile; POST /api/runs/replay {run} -> {same: boolean, why: string | null, plain: {tokens, text}, edited: {tokens, text} | null}

// ---------------------------------------------------------------- jobs
export interface Job { id: number; kind: string; dictionary: string | null; state: "waiting" | "running" | "done" | "failed" | "cancelled"; message: string; done: number; total: number }
// GET /api/jobs -> Job[]; POST /api/jobs/atlas {tokens: number} -> Job; DELETE /api/jobs/{id}; GET /api/jobs/{id}/events (server-sent: event "job", data Job)
