// What every test starts from: the page, watched for requests that leave this machine and for faults of its own.
import AxeBuilder from "@axe-core/playwright";
import { test as base, expect, type Page } from "@playwright/test";

export const test = base.extend<{ watched: void }>({
  watched: [async ({ page, baseURL }, use) => {
    const strays: string[] = [], faults: string[] = [];
    const own = new URL(baseURL!).origin;
    await page.route("**/*", (route) => {
      const { origin, protocol } = new URL(route.request().url());
      if (origin !== own && protocol.startsWith("http")) strays.push(route.request().url());
      return route.continue();
    });
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("console", (message) => { if (message.type() === "error" && /content security|refused to/i.test(message.text())) faults.push(message.text()); });
    await use();
    expect(strays, "requests that left the page's own server").toEqual([]);
    expect(faults, "faults of the page").toEqual([]);
  }, { auto: true }],
});
export { expect };
export type { Page };

export const QUESTION = "What is the capital of France?";

export async function ask(page: Page, question = QUESTION): Promise<void> {
  await page.goto("./");
  await page.getByTestId("chat-input").fill(question);
  await page.getByTestId("send").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
}

/** The token of the answer that reads as `word`. */
export const word = (page: Page, text: string, run = "plain") =>
  page.getByTestId(`answer-${run}`).locator("[data-pos]").filter({ hasText: new RegExp(`^\\s*${text}$`) }).first();

export async function explain(page: Page, text = "Paris"): Promise<void> {
  await word(page, text).click();
  await expect(page.getByTestId("cluster-0")).toBeVisible({ timeout: 60_000 });
}

export async function turnOff(page: Page): Promise<void> {
  await page.getByTestId("cluster-off-0").click();
  await expect(page.getByTestId("answer-steered")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
}

export const keep = (page: Page, name: string) => page.screenshot({ path: `artefacts/${name}.png`, animations: "disabled" });

export async function accessible(page: Page, what: string): Promise<void> {
  // what is still fading in has no contrast yet
  await page.evaluate(async () => {
    const ends = (a: Animation) => a.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY;
    await Promise.allSettled(document.getAnimations().filter(ends).map((a) => a.finished));
  });
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")} (${n.failureSummary?.split("\n")[1]?.trim() ?? ""})`).join(" | ")}`), what).toEqual([]);
}
