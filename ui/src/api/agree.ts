// Holds the page's types to the server's: what the server says must fit what the page reads, and what the page asks must
// fit what the server takes. Nothing here is run; a disagreement fails the type check.

import type { components } from "./schema";
import type * as Dictionary from "./dictionary";
import type * as Lab from "./labtypes";
import type * as Page from "./types";

type Server = components["schemas"];
/** Compiles only where the second fits the first. */
type Fits<Wanted, _Found extends Wanted> = true;

export type Replies = [
  Fits<Page.Status, Server["Status"]>,
  Fits<Page.ScoreReply, Server["ScoreReply"]>,
  Fits<Page.ExplainReply, Server["ExplainReply"]>,
  Fits<Page.AblateReply, Server["AblateReply"]>,
  Fits<Page.ActivationsReply, Server["ActivationsReply"]>,
  Fits<Page.CompareReply, Server["CompareReply"]>,
  Fits<Page.SteerReply, Server["SteerReply"]>,
  Fits<Page.Found, Server["Found"]>,
  Fits<Page.LensReply, Server["LensGrid"]>,
  Fits<Page.UnitReply, Server["UnitReply"]>,
  Fits<Page.Story, Server["Story"]>,
  Fits<Page.GateReply, Server["GateReply"]>,
  Fits<Page.RunFile, Server["RunFile"]>,
  Fits<Page.Job, Server["Job"]>,
  Fits<Dictionary.DictionaryReply, Server["DictionaryReply"]>,
  Fits<Dictionary.LatentsReply, Server["LatentsReply"]>,
  Fits<Dictionary.LatentMapReply, Server["LatentMapReply"]>,
  Fits<{ words: (Page.Words | null)[] }, Server["LatentWordsReply"]>,
  Fits<Lab.LabBehaviour, Server["LabBehaviour"]>,
  Fits<Lab.LabStep, Server["LabStep"]>,
  Fits<Lab.BehaviourReport, Server["BehaviourReport"]>,
  Fits<Lab.NeuronsReply, Server["LabNeuronsReply"]>,
  Fits<Lab.DirectionReply, Server["LabDirectionReply"]>,
  Fits<Lab.Reading, Server["Reading"]>,
  Fits<Lab.CircuitReply, Server["LabCircuitReply"]>,
  Fits<Lab.LensReply, Server["LabLensReply"]>,
  Fits<Lab.TraceReply, Server["LabTraceReply"]>,
  Fits<Lab.KnockoutReply, Server["LabKnockoutReply"]>,
  Fits<Lab.PatchscopeReply, Server["LabPatchscopeReply"]>,
  Fits<Lab.LadderReply, Server["LabLadderReply"]>,
  Fits<Lab.LabTask, Server["LabTask"]>,
  Fits<Lab.TaskGate, Server["TaskGate"]>,
  Fits<Lab.FunctionReply, Server["LabFunctionReply"]>,
];

export type Requests = [
  Fits<Server["TextSpec"], Page.TextSpec>,
  Fits<Server["GenerateRequest"], Page.GenerateRequest>,
  Fits<Server["ScoreRequest"], Page.ScoreRequest>,
  Fits<Server["ExplainRequest"], Page.ExplainRequest>,
  Fits<Server["AblateRequest"], Page.AblateRequest>,
  Fits<Server["ActivationsRequest"], Page.ActivationsRequest>,
  Fits<Server["CompareRequest"], Page.CompareRequest>,
  Fits<Server["SteerRequest"], Page.SteerRequest>,
  Fits<Server["Finding"], Page.FindRequest>,
  Fits<Server["LensRequest"], Page.LensRequest>,
  Fits<Server["LatentWordsRequest"], { name: string; latents: number[] }>,
  Fits<Server["LatentMapRequest"], { name: string }>,
  Fits<Server["RunFile"], Page.RunFile>,
  Fits<Server["LabBehaviourRequest"], Lab.Asked>,
  Fits<Server["LabNeuronsRequest"], Lab.NeuronsRequest>,
  Fits<Server["LabDirectionRequest"], Lab.DirectionRequest>,
  Fits<Server["LabCircuitRequest"], Lab.CircuitRequest>,
  Fits<Server["LabLensRequest"], Lab.Asked>,
  Fits<Server["LabTraceRequest"], Lab.TraceRequest>,
  Fits<Server["LabKnockoutRequest"], Lab.KnockoutRequest>,
  Fits<Server["LabPatchscopeRequest"], Lab.PatchscopeRequest>,
  Fits<Server["LabLadderRequest"], Lab.LadderRequest>,
  Fits<Server["LabFunctionRequest"], Lab.FunctionRequest>,
];
