import { ask, explain, expect, keep, test, turnOff, word } from "./page";

test("ask, explain, check, turn off, compare, share, replay", async ({ page }) => {
  await ask(page);
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await keep(page, "01-answer");

  await word(page, "Paris").hover();
  await expect(page.getByTestId("token-card")).toContainText("%");
  await keep(page, "02-alternatives");

  await explain(page);
  await expect(page.getByTestId("question")).toContainText("Paris");
  await page.getByTestId("cluster-0").hover();
  await expect(page.locator(".flow [data-sign]").first()).toBeVisible();
  await page.getByTestId("cluster-open-0").click();
  await expect(page.getByTestId("cluster-0").getByRole("list").getByRole("button").first()).toBeVisible();
  await keep(page, "03-clusters");

  await page.getByTestId("cluster-check-0").click();
  await expect(page.getByTestId("cluster-result-0")).toContainText("The effect", { timeout: 60_000 });
  await expect(page.getByTestId("cluster-result-0")).toContainText("random 1");
  await keep(page, "04-check");

  await turnOff(page);
  await expect(page.getByTestId("answer-plain")).toBeVisible();
  await expect(page.getByTestId("diff-sentence")).toContainText("answers");
  await page.getByTestId("diff-open").click();
  await expect(page.locator(".diff-table tbody tr").first()).toBeVisible({ timeout: 60_000 });
  await page.getByTestId("show-changed").click();
  await expect(page.getByTestId("unit-row-0")).toBeVisible({ timeout: 60_000 });
  await keep(page, "05-both-answers");

  const sent = page.waitForRequest((request) => request.url().endsWith("/api/explain"));
  await page.getByTestId("view-steered").click();
  await expect(page.getByTestId("run-badge").first()).toHaveText("steered run");
  const body = (await sent).postDataJSON() as { edits: unknown[] };
  expect(body.edits.length, "panels of the steered run are computed with its edits").toBeGreaterThan(0);

  await page.getByTestId("share").click();
  await page.getByTestId("share-make").click();
  const link = await page.getByTestId("share-link").inputValue();
  expect(link).toContain("#/run/");
  await page.goto("about:blank");
  await page.goto(link);
  await expect(page.getByTestId("run-same")).toContainText("Same bytes", { timeout: 90_000 });
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await expect(page.getByTestId("answer-steered")).toBeVisible();
  await keep(page, "06-replayed");
});

test("why this and not that", async ({ page }) => {
  await ask(page);
  await explain(page);
  await page.getByTestId("foil-picker").selectOption({ index: 1 });
  await expect(page.getByTestId("question")).toContainText("and not");
  await expect(page.getByTestId("question")).toContainText("ahead of the foil", { timeout: 60_000 });
  await word(page, "France").click({ modifiers: ["Shift"] });
  await expect(page.locator(".token.is-foil").first()).toBeVisible();
  await page.getByTestId("by").selectOption("head");
  await expect(page.getByTestId("unit-row-0")).toHaveAttribute("data-unit", /^z\.\d+\/h\d+$/, { timeout: 60_000 });
  await page.getByTestId("by").selectOption("layer");
  await expect(page.getByTestId("unit-row-0")).toBeVisible({ timeout: 60_000 });
});

test("a range, activations, filters and the unit page", async ({ page }) => {
  await ask(page);
  const capital = await word(page, "capital").boundingBox(), france = await word(page, "France").boundingBox();
  await page.mouse.move(capital!.x + 6, capital!.y + 6);
  await page.mouse.down();
  await page.mouse.move(france!.x + 8, france!.y + 6, { steps: 6 });
  await page.mouse.up();
  await expect(page.locator(".token.in-range")).toHaveCount(3);
  await page.getByTestId("tab-activation").click();
  await expect(page.getByTestId("unit-row-0")).toBeVisible({ timeout: 60_000 });
  await page.getByTestId("heat-activation").click();
  await expect(page.locator('[data-sign="amount"]').first()).toBeVisible();
  await keep(page, "07-activation");
  await page.getByTestId("units-filter").fill("zzzz-nothing");
  await expect(page.getByText("No unit fits the filter")).toBeVisible();
  await page.getByTestId("units-filter").fill("");
  await page.getByTestId("unit-row-0").click();
  await expect(page.getByTestId("unit-page")).toBeVisible({ timeout: 30_000 });
  await page.getByTestId("unit-open-page").click();
  await expect(page).toHaveURL(/#\/unit\/mlp_act/);
  await expect(page.getByTestId("exemplars-top")).toBeVisible();
  await expect(page.getByTestId("histogram").locator("svg")).toBeVisible();
  await page.getByTestId("unit-test").fill("The largest city of Italy is Rome.");
  await expect(page.getByTestId("unit-test-result")).toContainText("Strongest at");
  await keep(page, "08-unit-page");
});

test("steer by a concept, edit a turn, branch and stop", async ({ page }) => {
  await ask(page);
  await page.getByTestId("steer-add").click();
  await page.getByTestId("concept-input").fill("months and dates");
  await expect(page.getByTestId("found-units").getByRole("button").first()).toBeVisible({ timeout: 30_000 });
  await page.getByTestId("spec-save").click();
  await expect(page.getByTestId("answer-steered")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  await keep(page, "09-concept");
  await page.getByTestId("spec-switch-0").click();
  await expect(page.getByTestId("answer-steered")).toHaveCount(0);
  await page.locator('[data-testid^="edit-turn"]').first().click();
  await page.getByTestId("edit-input").fill("What is the capital of Poland?");
  await page.getByTestId("edit-send").click();
  await expect(page.getByTestId("branch-count").first()).toHaveText("2/2");
  await expect(page.getByTestId("answer-plain")).toContainText("Warsaw", { timeout: 90_000 });
  await page.getByTestId("branch-back").first().click();
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await page.getByTestId("start-over").click();
  await page.getByTestId("chat-input").fill("Tell me a long story about a lighthouse.");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("answer-plain").locator("[data-pos]").nth(3)).toBeVisible({ timeout: 60_000 });
  await page.getByTestId("stop").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "stopped");
});

test("stories are gated and told by buttons", async ({ page }) => {
  await page.goto("./#/stories");
  const first = page.locator("li.story").first();
  await expect(first).toBeVisible();
  await first.locator('[data-testid^="gate-"]').click();
  await expect(first.locator('[data-testid^="gate-result-"]')).toContainText(/This model (shows|does not show) it/, { timeout: 110_000 });
  await keep(page, "11-stories");
  await first.getByText("Begin").click();
  await expect(page.getByTestId("guide")).toBeVisible();
  await page.getByTestId("story-step-0").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
});

test("plain text instead of chat", async ({ page }) => {
  await page.goto("./");
  await page.getByTestId("text-mode").click();
  await page.getByTestId("chat-input").fill("The capital of France is");
  await page.getByTestId("send").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
});
