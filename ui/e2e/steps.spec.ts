// What a new user does, step by step, each timed from the click to what it shows. Answers' own generation is not counted.
// The times go to the output and to artefacts/steps.json; the limit leaves room for a machine that is busy or slow, so that only a step that
// has become several times slower fails.
import { writeFileSync } from "node:fs";
import { ask, expect, test, word } from "./page";

const LIMIT_S = Number(process.env.PELLUCID_STEP_LIMIT_S ?? "8");
const LONG =
  "What is the capital of Poland, and what would you tell somebody who wants to go and see it for a day in spring?";

test("each step of a first visit is quick", async ({ page }) => {
  const times: Record<string, number> = {};
  const timed = async (step: string, act: () => Promise<void>) => {
    const begun = performance.now();
    await act();
    times[step] = Math.round(performance.now() - begun) / 1000;
  };
  const visible = (id: string) => expect(page.getByTestId(id).first()).toBeVisible({ timeout: 60_000 });

  await timed("open the page", async () => {
    await page.goto("./");
    await visible("chat-input");
  });
  await ask(page, LONG);
  const tokens = await page.locator("[data-pos]").count();
  await timed("click a token: clusters", async () => {
    await word(page, "Warsaw").click();
    await visible("cluster-0");
  });
  await timed("open a cluster", async () => {
    await page.getByTestId("cluster-open-0").click();
    await expect(page.getByTestId("cluster-0").getByRole("list").getByRole("button").first()).toBeVisible();
  });
  await timed("check it against five random groups", async () => {
    await page.getByTestId("cluster-check-0").click();
    await expect(page.getByTestId("cluster-result-0")).toContainText("random 1", { timeout: 60_000 });
  });
  await timed("turn it off: the steered answer begins", async () => {
    await page.getByTestId("cluster-off-0").click();
    await visible("answer-steered");
  });
  await expect(page.getByTestId("answer-steered")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  await timed("compare the two runs", async () => {
    await page.getByTestId("diff-open").click();
    await expect(page.locator(".diff-table tbody tr").first()).toBeVisible({ timeout: 60_000 });
  });
  await timed("what was active", async () => {
    await page.getByTestId("view-plain").click();
    await page.getByTestId("tab-activation").click();
    await visible("unit-row-0");
  });
  await timed("a unit", async () => {
    await page.getByTestId("unit-row-0").click();
    await visible("unit-page");
  });
  finish(tokens, times);
});

function finish(tokens: number, times: Record<string, number>): void {
  writeFileSync("artefacts/steps.json", JSON.stringify({ tokens, seconds: times }, null, 2));
  console.log(`${tokens} tokens on the page`, times);
  const slow = Object.entries(times).filter(([, seconds]) => seconds > LIMIT_S);
  expect(slow, `steps of more than ${LIMIT_S} s`).toEqual([]);
}
