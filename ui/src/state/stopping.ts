// Requests that somebody can stop: what is running, since when, and how to end it.

/** Ended because somebody asked for it. It is no failure, and nothing is tried again by itself. */
export class Stopped extends Error {
  constructor() {
    super("Stopped.");
    this.name = "Stopped";
  }
}

interface Running { stopper: AbortController; since: number }
const running = new Map<string, Running>();

/** Asks under a name by which `stop` can end it. `signal` is of whoever waits for the answer. */
export async function stoppable<T>(name: string, signal: AbortSignal | null, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const mine: Running = { stopper: new AbortController(), since: performance.now() };
  running.set(name, mine);
  try {
    return await ask(signal ? AbortSignal.any([signal, mine.stopper.signal]) : mine.stopper.signal);
  } catch (error) {
    throw mine.stopper.signal.aborted ? new Stopped() : error;
  } finally {
    if (running.get(name) === mine) running.delete(name);
  }
}

export const stop = (name: string): void => running.get(name)?.stopper.abort();
/** When the request began, on the clock of `performance.now`; now, where there is none. */
export const since = (name: string): number => running.get(name)?.since ?? performance.now();
