// What the graph of a prompt asks and answers: the server's own types, as the schema has them.
import { request, ApiError, postJson } from "./http";
import type { LabStep } from "./labtypes";
import type { components } from "./schema";
import { events } from "./sse";

type Server = components["schemas"];
export type GraphRequest = Server["LabGraphRequest"];
export type GraphReply = Server["LabGraphReply"];
export type GraphReport = Server["GraphReport"];
export type GraphNode = Server["GraphNode"];
export type GraphLink = Server["GraphLink"];
export type ZeroRequest = Server["LabZeroRequest"];
export type Zeroed = Server["GraphZeroed"];

export type GraphEvent = { kind: "step"; step: LabStep } | { kind: "done"; reply: GraphReply };

interface Failed { error: { code: string; message: string } }

export async function* graphEvents(body: GraphRequest, signal: AbortSignal): AsyncGenerator<GraphEvent> {
  const response = await request("lab/graph", {
    method: "POST", signal, body: JSON.stringify(body),
    headers: { "content-type": "application/json", accept: "text/event-stream" },
  });
  if (!response.body) throw new ApiError("failed", "The server sent an empty answer.", response.status);
  for await (const { event, data } of events(response.body)) {
    if (event === "failed") {
      const { error } = JSON.parse(data) as Failed;
      throw new ApiError(error.code, error.message, response.status);
    }
    if (event === "step") yield { kind: "step", step: JSON.parse(data) as LabStep };
    if (event === "done") {
      yield { kind: "done", reply: JSON.parse(data) as GraphReply };
      return;
    }
  }
  throw new ApiError("cut_off", "The answer broke off: the connection to the server was lost.", 0);
}

export const zeroNodes = (body: ZeroRequest, signal?: AbortSignal) => postJson<Zeroed>("lab/graph/zero", body, signal);
