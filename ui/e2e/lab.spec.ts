import { bothThemes, lines, open, run, whole } from "./labpage";
import { accessible, expect, keep, test } from "./page";

const ITEMS = ["cat", "dog", "key", "car", "tree", "book", "house", "friend"].flatMap((noun) => [
  { prompt: `The old ${noun}s`, counterfactual: `The old ${noun}`, right: [" are"], wrong: [" is"], class: "plural", group: noun },
  { prompt: `The old ${noun}`, counterfactual: `The old ${noun}s`, right: [" is"], wrong: [" are"], class: "singular", group: noun },
]);
const swapped = ITEMS.map((item) => ({ ...item, right: item.wrong, wrong: item.right }));

test("neurons: gate, table, doses", async ({ page }) => {
  test.setTimeout(300_000);
  await open(page, "neurons", "determiner", 12);
  await expect(page.getByTestId("lab-about")).toContainText("this, that, these, those");
  await accessible(page, "lab form");
  await page.getByTestId("lab-top").fill("3");
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "true");
  await expect(page.getByTestId("lab-gate")).toContainText(/This model shows determiner.*95% interval/);
  await expect(page.getByTestId("lab-neurons").locator("tbody tr")).toHaveCount(3);
  await expect(page.getByTestId("lab-neurons")).toContainText("random neurons of the same layers");
  const unit = (await page.getByTestId("lab-unit-0").getAttribute("data-unit"))!;
  await page.getByTestId("lab-unit-0").press("Enter");
  await expect(page.getByTestId("lab-dose-chart")).toBeVisible({ timeout: 120_000 });
  await expect(page.getByTestId("lab-doses").locator("tbody tr")).toHaveCount(6);
  await bothThemes(page, "40-lab-neurons");
  await page.getByTestId("lab-unit-page").click();
  await expect(page.getByTestId("unit-page")).toHaveAttribute("data-unit", unit);
  // what was found is still there
  await page.goBack();
  await expect(page.getByTestId("lab-unit-0")).toHaveAttribute("data-unit", unit);
});

test("directions: candidates, outcomes, a text along it", async ({ page }) => {
  test.setTimeout(400_000);
  await open(page, "direction", "number", 16);
  await run(page);
  for (const score of ["ablation", "steering", "kl"]) await expect(page.getByTestId(`lab-candidates-${score}`)).toBeVisible();
  await expect(page.getByTestId("lab-outcomes").locator("tbody tr")).toHaveCount(6);
  await page.getByTestId("lab-read").fill("The dogs and the cat");
  await page.getByTestId("lab-read-send").click();
  await expect(page.getByTestId("lab-read-tokens")).toContainText("The dogs and the cat");
  await expect(page.getByTestId("lab-read-tokens").locator("[data-sign]").first()).toBeVisible();
  await bothThemes(page, "41-lab-directions");
});

test("circuits: sizes, picture, file", async ({ page }) => {
  test.setTimeout(400_000);
  await open(page, "circuit", "number", 6);
  await page.getByTestId("lab-scoring").selectOption("eap");
  await page.getByTestId("lab-edges").fill("100");
  await run(page);
  await expect(page.getByTestId("lab-areas")).toContainText(/CPR .* CMD /);
  const before = await page.getByTestId("lab-k-value").innerText();
  await page.getByTestId("lab-k").press("Home");
  await expect(page.getByTestId("lab-k-value")).not.toHaveText(before);
  await page.getByTestId("lab-k").press("End");
  await expect(page.getByTestId("lab-k-numbers").locator("tbody tr").first()).toContainText("+1.00");
  await expect(page.getByTestId("lab-edge-list").locator("li")).toHaveCount(60);
  const first = await page.getByTestId("lab-edge").innerText();
  await page.getByTestId("lab-graph").press("ArrowRight");
  await expect(page.getByTestId("lab-edge")).not.toHaveText(first);
  await expect(page.getByTestId("lab-edge")).toContainText("2 of 60");
  await bothThemes(page, "42-lab-circuits");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByTestId("lab-download").click()]);
  const parts = await (await file.createReadStream()).toArray();
  const circuit = JSON.parse(Buffer.concat(parts as Buffer[]).toString()) as { edges: Record<string, { in_graph: boolean }> };
  expect(Object.values(circuit.edges).filter((edge) => edge.in_graph)).toHaveLength(100);
});

test("what the model does not do is not explained", async ({ page }) => {
  await page.goto("./#/lab/neurons");
  await page.getByTestId("lab-source").selectOption("own");
  await expect(page.getByTestId("lab-start")).toBeDisabled();
  await page.getByTestId("lab-jsonl").fill(lines(swapped));
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "false");
  await expect(page.getByTestId("lab-gate")).toContainText("does not show");
  await expect(page.getByTestId("lab-gate-no")).toContainText("Nothing is explained that is not there");
  await expect(page.getByTestId("lab-neurons")).toHaveCount(0);
  await accessible(page, "gate says no");
  await whole(page, "43-lab-no");
  // the same the right way round passes
  await page.getByTestId("lab-method-behaviour").click();
  await page.getByTestId("lab-jsonl").fill(lines(ITEMS));
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "true");
});

test("what is wrong is said, and a run can be stopped", async ({ page }) => {
  await page.goto("./#/lab");
  await page.getByTestId("lab-source").selectOption("own");
  await page.getByTestId("lab-jsonl").fill('{"prompt": "The key", "right": [" is"]}');
  await page.getByTestId("lab-start").click();
  await expect(page.getByTestId("lab-run")).toContainText(/line 1: .*wrong/);
  await open(page, "direction", "capitals", 32);
  await expect(page.getByTestId("lab-unfit")).toBeVisible();
  await expect(page.getByTestId("lab-start")).toBeDisabled();
  await page.getByTestId("lab-source").selectOption("agreement");
  await page.getByTestId("lab-start").click();
  await expect(page.getByTestId("lab-gate")).toBeVisible({ timeout: 60_000 });
  await keep(page, "44-lab-working");
  await page.getByTestId("lab-stop").click();
  await expect(page.getByTestId("lab-run").getByTestId("stopped")).toContainText("Only the gate is shown");
  // the server's run ends too
  const running = async () => ((await (await page.request.get("./api/status")).json()) as { load: { running: number } }).load.running;
  await expect.poll(running, { timeout: 60_000 }).toBe(0);
});

test("the lab fits a narrow window and is worked by keys", async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await open(page, "neurons", "number", 8);
  await page.getByTestId("lab-top").fill("2");
  await page.getByTestId("lab-top").press("Enter");
  await expect(page.getByTestId("lab-run")).toHaveAttribute("data-state", "done", { timeout: 240_000 });
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  expect(await page.getByTestId("lab-view").evaluate((view) => view.scrollWidth - view.clientWidth)).toBeLessThanOrEqual(0);
  const bars = page.getByTestId("lab-items-chart").getByRole("slider");
  await bars.press("End");
  await expect(bars).toHaveAttribute("aria-valuenow", "8");
  await accessible(page, "narrow lab");
  await whole(page, "45-lab-narrow");
});
