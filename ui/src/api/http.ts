// One way to ask the server: addresses relative to the page, the access token, patience when it is busy, and
// failures that are sentences.
import { accessToken, askForToken, connection } from "../state/connection";

export class ApiError extends Error {
  constructor(readonly code: string, message: string, readonly status: number) {
    super(message);
    this.name = "ApiError";
  }
}

const TRIES = 5;

/** The page's own directory: works under any base, and without the hash. */
export function address(path: string): string {
  return new URL(`./api/${path}`, document.baseURI.split("#")[0]).toString();
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

async function failure(response: Response): Promise<ApiError> {
  let body: unknown = null;
  try {
    body = await response.json();
  } catch {
    // Not JSON: a proxy or an old server; the status must do.
  }
  const error = (body as { error?: { code?: unknown; message?: unknown } } | null)?.error;
  const message = typeof error?.message === "string" && error.message
    ? error.message
    : `The server answered ${response.status} without saying why.`;
  return new ApiError(typeof error?.code === "string" ? error.code : "failed", message, response.status);
}

/** Seconds from a `retry-after` header: a number, else one second; never longer than 30. */
export function retryAfter(header: string | null): number {
  const seconds = Number(header);
  return header !== null && Number.isFinite(seconds) && seconds >= 0 ? Math.min(Math.max(seconds, 0.2), 30) : 1;
}

export async function request(path: string, init: RequestInit & { signal?: AbortSignal } = {}): Promise<Response> {
  connection.set((state) => ({ running: state.running + 1 }));
  try {
    for (let attempt = 1; ; attempt++) {
      const token = accessToken();
      const headers = new Headers(init.headers);
      if (token) headers.set("authorization", `Bearer ${token}`);
      let response: Response;
      try {
        response = await fetch(address(path), { ...init, headers });
      } catch (error) {
        if (init.signal?.aborted) throw error;
        throw new ApiError("unreachable", "The server does not answer. Is pellucid serve still running?", 0);
      }
      if (response.ok) return response;
      if (response.status === 401) {
        await askForToken(token !== null, init.signal);
        continue;
      }
      if (response.status === 429) {
        if (attempt >= TRIES) {
          throw new ApiError("busy", "The server is busy with other runs and had no room after several tries.", 429);
        }
        const seconds = retryAfter(response.headers.get("retry-after"));
        connection.set({ waiting: { attempt, of: TRIES - 1, seconds } });
        try {
          await sleep(seconds * 1000, init.signal);
        } finally {
          connection.set({ waiting: null });
        }
        continue;
      }
      throw await failure(response);
    }
  } finally {
    connection.set((state) => ({ running: state.running - 1 }));
  }
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { signal })).json() as Promise<T>;
}

export async function postJson<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const response = await request(path, {
    method: "POST", signal, headers: { "content-type": "application/json" }, body: JSON.stringify(body),
  });
  return response.json() as Promise<T>;
}

/** Any thrown thing, as a sentence for a person. */
export function sentence(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  if (error instanceof Error && error.name === "AbortError") return "Stopped.";
  if (error instanceof Error && error.message) return error.message;
  return "Something went wrong, and the page does not know what.";
}
