// What stands between the page and its server: the access token, and whether it is busy.
import { createStore } from "./store";

const KEY = "pellucid.token";

interface Connection {
  /** Somebody must type a token; `wrong` when one was sent and refused. */
  asking: null | { wrong: boolean };
  /** The server said 429 and we wait before trying again. */
  waiting: null | { attempt: number; of: number; seconds: number };
  running: number;
}

export const connection = createStore<Connection>({ asking: null, waiting: null, running: 0 });

let answered: (() => void)[] = [];

export function accessToken(): string | null {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function giveToken(token: string): void {
  try {
    sessionStorage.setItem(KEY, token);
  } catch {
    // Storage may be forbidden; then the token is asked for again.
  }
  connection.set({ asking: null });
  const waiting = answered;
  answered = [];
  for (const go of waiting) go();
}

/** Resolves when a token has been typed. Many requests may wait for the one dialog. */
export function askForToken(wrong: boolean, signal?: AbortSignal): Promise<void> {
  connection.set({ asking: { wrong } });
  return new Promise((resolve, reject) => {
    answered.push(resolve);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
