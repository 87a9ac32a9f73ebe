// Every request of the page but the streams, typed by the contract.
import { getJson, postJson, request } from "./http";
import type {
  AblateReply, AblateRequest, ActivationsReply, ActivationsRequest, CompareReply, CompareRequest, ExplainReply,
  ExplainRequest, FindRequest, Found, GateReply, Job, LensReply, LensRequest, Placed, RunFile, ScoreReply, ScoreRequest,
  Status, SteerReply, SteerRequest, Story, TextSpec, UnitReply,
} from "./types";

type Signal = AbortSignal | undefined;

export interface UnitTest { prompt: Placed[]; values: number[]; scale: { "+": number; "-": number } | null }
export interface Replayed {
  same: boolean; why: string | null;
  plain: { tokens: number[]; text: string }; edited: { tokens: number[]; text: string } | null;
}

export const status = (signal?: Signal) => getJson<Status>("status", signal);
export const score = (body: ScoreRequest, signal?: Signal) => postJson<ScoreReply>("score", body, signal);
export const explain = (body: ExplainRequest, signal?: Signal) => postJson<ExplainReply>("explain", body, signal);
export const ablate = (body: AblateRequest, signal?: Signal) => postJson<AblateReply>("ablate", body, signal);
export const activations = (body: ActivationsRequest, signal?: Signal) =>
  postJson<ActivationsReply>("activations", body, signal);
export const compare = (body: CompareRequest, signal?: Signal) => postJson<CompareReply>("compare", body, signal);
export const steer = (body: SteerRequest, signal?: Signal) => postJson<SteerReply>("steer", body, signal);
export const find = (body: FindRequest, signal?: Signal) => postJson<Found[]>("find", body, signal);
export const lens = (body: LensRequest, signal?: Signal) => postJson<LensReply>("lens", body, signal);
export const unit = (id: string, examples: number, signal?: Signal) =>
  getJson<UnitReply>(`unit?unit=${encodeURIComponent(id)}&examples=${examples}`, signal);
export const testUnit = (body: { unit: string; text: TextSpec }, signal?: Signal) =>
  postJson<UnitTest>("unit/test", body, signal);
export const describeUnit = (body: { unit: string; text: string; author: string }) =>
  postJson<{ id: number }>("unit/describe", body);
export const voteDescription = (body: { id: number; dictionary: string | null; voter: string; up: boolean }) =>
  postJson<{ up: number; down: number }>("unit/vote", body);
export const stories = (signal?: Signal) => getJson<Story[]>("stories", signal);
export const gate = (id: string, signal?: Signal) => postJson<GateReply>("stories/gate", { id }, signal);
export const askGuide = (body: { question: string; state: string }) =>
  postJson<{ answer: string; by: string }>("guide", body);
export const saveRun = (run: RunFile) => postJson<{ id: string }>("runs", { run });
export const loadRun = (id: string, signal?: Signal) => getJson<RunFile>(`runs/${encodeURIComponent(id)}`, signal);
export const replayRun = (run: RunFile, signal?: Signal) => postJson<Replayed>("runs/replay", { run }, signal);
export const jobs = (signal?: Signal) => getJson<Job[]>("jobs", signal);
export const makeAtlas = (tokens: number) => postJson<Job>("jobs/atlas", { tokens });
export const cancelJob = async (id: number) => { await request(`jobs/${id}`, { method: "DELETE" }); };
