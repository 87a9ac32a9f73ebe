// A run as a file: what is needed to say the same bytes again.
import type { Edit, Message, Placed, RunFile, Sampling, Status, SteerSpec } from "../api/types";
import type { Said } from "./tokens";

export interface RunParts {
  status: Status;
  messages: Message[] | null;
  prompt: Placed[];
  sampling: Sampling;
  specs: SteerSpec[];
  edits: Edit[];
  plain: { generated: Said[]; text: string };
  steered: { generated: Said[]; text: string } | null;
}

export function makeRunFile(parts: RunParts): RunFile {
  const { status, messages, prompt, sampling, specs, edits, plain, steered } = parts;
  const answer = (run: { generated: Said[]; text: string }) => ({ tokens: run.generated.map((token) => token.id), text: run.text });
  return {
    pellucid: status.pellucid,
    model: { name: status.model.name, sha256: status.model.sha256, tokenizer_hash: status.model.tokenizer_hash },
    ...(messages ? { messages } : {}),
    tokens: prompt.map((token) => token.id), roles: prompt.map((token) => token.role ?? null),
    sampling, specs: steered ? specs : [], edits: steered ? edits : [],
    plain: answer(plain), edited: steered ? answer(steered) : null,
  };
}

/** A file somebody chose, or a sentence on why it is none. */
export function readRunFile(text: string): RunFile | string {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return "This file is not JSON.";
  }
  const run = data as Partial<RunFile> | null;
  const numbers = (list: unknown) => Array.isArray(list) && list.every((id) => Number.isInteger(id) && id >= 0);
  if (typeof run !== "object" || run === null || !run.model || !numbers(run.tokens) || !run.plain) {
    return "This file is not a run: it has no model, prompt tokens or plain answer.";
  }
  if (!numbers(run.plain.tokens) || (run.edited && !numbers(run.edited.tokens))) return "An answer in this file is damaged.";
  if (!Array.isArray(run.roles) || run.roles.length !== run.tokens!.length) return "The roles in this file do not fit its tokens.";
  if (!run.sampling || !Array.isArray(run.specs) || !Array.isArray(run.edits)) return "This run lacks its sampling settings or edits.";
  return run as RunFile;
}

/** Whether this model is the one that made the run. */
export function otherModel(run: RunFile, status: Status): string | null {
  if (run.model.sha256 !== status.model.sha256) {
    return `This run was made by ${run.model.name} (${run.model.sha256.slice(0, 12)}…); the model here is ${status.model.name} (${status.model.sha256.slice(0, 12)}…), so the answers may differ.`;
  }
  return null;
}

export function runFileName(run: RunFile): string {
  const first = run.messages?.findLast((message) => message.role === "user")?.content ?? run.plain.text;
  const slug = first.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40);
  return `pellucid-run${slug ? `-${slug}` : ""}.json`;
}
