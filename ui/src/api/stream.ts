// A generation as it comes.
import { ApiError, request } from "./http";
import { events } from "./sse";
import type { Ended, GenerateRequest, Job, Placed, Scored } from "./types";

export type GenerateEvent =
  | { kind: "prompt"; prompt: Placed[] }
  | { kind: "token"; position: number; token: Scored; shown: string; top: Scored[] }
  | { kind: "done"; ended: Ended; ended_by: string | null; text: string };

interface Failure { error: { code: string; message: string } }

export async function* generate(body: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent> {
  const response = await request("generate", {
    method: "POST", signal, body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "text/event-stream" },
  });
  if (!response.body) throw new ApiError("failed", "The server sent an empty answer.", response.status);
  let ended = false;
  for await (const { event, data } of events(response.body)) {
    if (event === "failed") {
      const { error } = JSON.parse(data) as Failure;
      throw new ApiError(error.code, error.message, response.status);
    }
    if (event === "prompt" || event === "token" || event === "done") {
      yield { kind: event, ...JSON.parse(data) } as GenerateEvent;
      if (event === "done") ended = true;
    }
  }
  if (!ended) throw new ApiError("cut_off", "The answer broke off: the connection to the server was lost.", 0);
}

export async function* jobEvents(id: number, signal: AbortSignal): AsyncGenerator<Job> {
  const response = await request(`jobs/${id}/events`, { signal, headers: { accept: "text/event-stream" } });
  if (!response.body) return;
  for await (const { event, data } of events(response.body)) if (event === "job") yield JSON.parse(data) as Job;
}
