import { expect, test } from "vitest";
import { since, stop, Stopped, stoppable } from "./stopping";

const never = (signal: AbortSignal) => new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));

test("what is stopped says so, and other requests go on", async () => {
  const one = stoppable("one", null, never), two = stoppable("two", null, () => Promise.resolve(2));
  expect(since("one")).toBeLessThanOrEqual(performance.now());
  stop("three");
  stop("one");
  await expect(one).rejects.toBeInstanceOf(Stopped);
  expect(await two).toBe(2);
});

test("nobody waiting any more is no stop, and a failure stays what it is", async () => {
  const waiting = new AbortController();
  const left = stoppable("one", waiting.signal, never);
  waiting.abort(new Error("left"));
  await expect(left).rejects.toThrow("left");
  await expect(stoppable("one", null, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
});
