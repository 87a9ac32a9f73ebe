// The laboratory's streams: how far it is, the gate, and the method's reply.
import { ApiError, getJson, postJson, request } from "./http";
import type { BehaviourReport, LabBehaviour, LabStep, LabTask, Reading, TaskGate } from "./labtypes";
import { events } from "./sse";

export type LabEvent<R> = { kind: "step"; step: LabStep } | { kind: "gate"; gate: BehaviourReport | TaskGate } | { kind: "done"; reply: R };

interface Failure { error: { code: string; message: string } }

export async function* labEvents<R>(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<LabEvent<R>> {
  const response = await request(`lab/${path}`, {
    method: "POST", signal, body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "text/event-stream" },
  });
  if (!response.body) throw new ApiError("failed", "The server sent an empty answer.", response.status);
  for await (const { event, data } of events(response.body)) {
    if (event === "failed") {
      const { error } = JSON.parse(data) as Failure;
      throw new ApiError(error.code, error.message, response.status);
    }
    if (event === "step") yield { kind: "step", step: JSON.parse(data) as LabStep };
    if (event === "gate") yield { kind: "gate", gate: JSON.parse(data) as BehaviourReport | TaskGate };
    if (event === "done") {
      yield { kind: "done", reply: JSON.parse(data) as R };
      return;
    }
  }
  throw new ApiError("cut_off", "The answer broke off: the connection to the server was lost.", 0);
}

export const labBehaviours = (signal?: AbortSignal) => getJson<LabBehaviour[]>("lab/behaviours", signal);
export const labTasks = (signal?: AbortSignal) => getJson<LabTask[]>("lab/tasks", signal);
export const readAlong = (body: { text: string; direction: number[] }, signal?: AbortSignal) => postJson<Reading>("lab/read", body, signal);
