// The lab's methods over layers, tokens and heads, and a story that opens them.
import { bothThemes, lines, open, run as runWithin } from "./labpage";
import { accessible, expect, keep, type Page, test } from "./page";

/** Tracing and patching take longer than other methods. */
const run = (page: Page) => runWithin(page, 400_000);

const PLURALS = ["cat", "dog", "key", "car"].map((noun) => ({ prompt: `The old ${noun}s`, counterfactual: `The old ${noun}`, right: [" are"], wrong: [" is"], class: "plural", group: noun }));

test("lens: where the answer wins", async ({ page }) => {
  test.setTimeout(300_000);
  await open(page, "lens", "capitals", 12);
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "true");
  await expect(page.getByTestId("lab-lens-words")).toContainText(/of 12 right answers .*by layer \d+ \(of 30 layers/);
  for (const chart of ["share", "rank", "odds", "entropy"]) await expect(page.getByTestId(`lab-lens-${chart}`)).toBeVisible();
  await expect(page.getByTestId("lab-lens-share")).toContainText("control: another item’s answer likeliest");
  await page.getByText("The numbers", { exact: true }).click();
  await expect(page.getByTestId("lab-lens").locator("tbody tr")).toHaveCount(31);
  await bothThemes(page, "46-lab-lens");
});

test("tracing: a map beside a stranger's, worked by keys", async ({ page }) => {
  test.setTimeout(500_000);
  await page.goto("./#/lab/trace");
  await page.getByTestId("lab-source").selectOption("own");
  await page.getByTestId("lab-jsonl").fill(lines(PLURALS));
  await run(page);
  await expect(page.getByTestId("lab-pairs")).toContainText("4 items of one length");
  const map = page.getByTestId("lab-trace-resid_pre-map"), words = page.getByTestId("lab-trace-resid_pre-map-words");
  await expect(map.locator("svg.heat-cells")).toHaveCount(2);
  await expect(map).toContainText("control: from a stranger");
  // only the noun differs and it is last, so that its value before the first layer is the clean run
  await expect(words).toContainText(/resid_pre\.0.* restores 1\.00/);
  const first = await words.innerText();
  await map.getByRole("group").press("ArrowUp");
  await expect(words).not.toHaveText(first);
  await expect(words).toContainText("resid_pre.1");
  await bothThemes(page, "47-lab-trace");
  // heads, the other way round
  await page.getByTestId("lab-at").selectOption("z");
  await page.getByTestId("lab-towards").selectOption("noise");
  await run(page);
  await expect(page.getByTestId("lab-trace-z-map").locator("svg.heat-cells").first()).toContainText("h8");
  await expect(page.getByTestId("lab-trace-z")).toContainText("leaves");
  // what cannot be traced is said under the gate
  await page.getByTestId("lab-jsonl").fill(lines(PLURALS.map((item) => ({ prompt: item.prompt, right: item.right, wrong: item.wrong }))));
  await page.getByTestId("lab-start").click();
  await expect(page.getByTestId("lab-run")).toHaveAttribute("data-state", "failed", { timeout: 60_000 });
  await expect(page.getByTestId("lab-run").getByRole("alert")).toContainText("counterfactual");
});

test("knockout: which token must be seen", async ({ page }) => {
  test.setTimeout(500_000);
  await open(page, "knockout", "number", 6);
  await page.getByTestId("lab-cutWindow").fill("8");
  await run(page);
  const words = page.getByTestId("lab-knockout-map-words");
  await expect(words).toContainText(/Without .* from layer \d+ on: .*a random other token/);
  await expect(page.getByTestId("lab-knockout").locator("tbody tr")).toHaveCount(8);
  await page.getByTestId("lab-knockout-map").locator("svg.heat-cells").first().locator("rect.plus, rect.minus").first().hover({ timeout: 20_000 });
  await expect(words).toContainText("from layer 0 on");
  await bothThemes(page, "48-lab-knockout");
});

test("patchscopes: a token in words, a behaviour into a target and back", async ({ page }) => {
  test.setTimeout(600_000);
  await page.goto("./#/lab/patchscope");
  await expect(page.getByTestId("lab-text")).toHaveValue(/Eiffel Tower/);
  await run(page);
  const ladder = page.getByTestId("lab-ladder");
  await expect(ladder.locator("tbody tr")).toHaveCount(31);
  await expect(ladder.locator("tbody")).toContainText("city in France");
  await expect(page.getByTestId("lab-ladder-control")).not.toContainText("city in France");
  await bothThemes(page, "49-lab-ladder");
  // another token of the same text
  await page.getByTestId("lab-ladder-token-1").click();
  await expect(page.getByTestId("lab-position")).toHaveValue("1");
  await expect(page.getByTestId("lab-ladder-token-1")).toHaveAttribute("aria-pressed", "true", { timeout: 200_000 });
  // a target with two places is refused with a reason
  await page.getByTestId("lab-target").fill("{} and {}");
  await page.getByTestId("lab-start").click();
  await expect(page.getByTestId("lab-run").getByRole("alert")).toContainText("more than one {}", { timeout: 60_000 });
  await page.getByTestId("lab-target").fill("description");
  await page.getByTestId("lab-into-target").click();
  await page.getByTestId("lab-source").selectOption("capitals");
  await page.getByTestId("lab-items").fill("6");
  await page.getByTestId("lab-every").fill("10");
  await run(page);
  await expect(page.getByTestId("lab-patch-map-words")).toContainText(/From resid_post\.\d+ into resid_post\.\d+: .* right/);
  await bothThemes(page, "50-lab-patch-grid");
  await page.getByTestId("lab-into-back").click();
  await run(page);
  await expect(page.getByTestId("lab-back-words")).toContainText("another item’s value, which has as many pairs to try");
  await expect(page.getByTestId("lab-patch-grid").locator("svg.heat-cells").first().locator("rect.ground")).toHaveCount(6);
});

test("function vectors: the gate, and the vector beside its controls", async ({ page }) => {
  test.setTimeout(600_000);
  await page.goto("./#/lab/function");
  await page.getByTestId("lab-task").selectOption("plural");
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "true");
  await expect(page.getByTestId("lab-vector").locator("tr.is-random")).toHaveCount(2);
  await expect(page.getByTestId("lab-vector-chart")).toContainText("added 2×");
  await expect(page.getByTestId("lab-heads").locator("tbody tr")).toHaveCount(10);
  await bothThemes(page, "51-lab-function");
});

test("a task that examples do not teach is not explained", async ({ page }) => {
  test.setTimeout(200_000);
  await page.goto("./#/lab/function");
  // the same words in another order: there is no rule
  await page.getByTestId("lab-task").selectOption("own");
  await expect(page.getByTestId("lab-start")).toBeDisabled();
  const words = ["tree", "house", "water", "music", "light", "paper", "stone", "river", "money", "table", "horse", "glass", "green", "north", "seven", "bread"];
  await page.getByTestId("lab-pairs-own").fill(words.map((x, i) => JSON.stringify({ x, y: words[(i * 7 + 3) % words.length] })).join("\n"));
  await page.getByTestId("lab-shots").fill("4");
  await run(page);
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "false");
  await expect(page.getByTestId("lab-gate-no")).toContainText("no vector was looked for");
  await expect(page.getByTestId("lab-vector")).toHaveCount(0);
  await accessible(page, "task gate says no");
});

test("places fit a narrow window", async ({ page }) => {
  test.setTimeout(300_000);
  await page.setViewportSize({ width: 360, height: 740 });
  await page.goto("./#/lab/trace");
  await page.getByTestId("lab-source").selectOption("own");
  await page.getByTestId("lab-jsonl").fill(lines(PLURALS));
  await run(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  expect(await page.getByTestId("lab-view").evaluate((view) => view.scrollWidth - view.clientWidth)).toBeLessThanOrEqual(0);
  await accessible(page, "narrow tracing");
  await bothThemes(page, "52-lab-narrow-trace");
});

test("a story opens the lab with a method and a behaviour, and says no where there is nothing", async ({ page }) => {
  test.setTimeout(300_000);
  await page.goto("./#/stories");
  const story = page.getByTestId("story-refusal");
  await story.getByTestId("gate-refusal").click();
  await expect(page.getByTestId("gate-result-refusal")).toContainText("does not show it", { timeout: 60_000 });
  await keep(page, "53-stories");
  await story.getByTestId("story-begin-refusal").click();
  await page.getByTestId("story-step-1").click();
  await expect(page.getByTestId("lab-view")).toBeVisible();
  await expect(page.getByTestId("lab-source")).toHaveValue("refusal");
  await expect(page.getByTestId("lab-run")).toHaveAttribute("data-state", "done", { timeout: 120_000 });
  await expect(page.getByTestId("lab-gate")).toHaveAttribute("data-shown", "false");
  await expect(page.getByTestId("lab-story")).toContainText("Measure it");
  await accessible(page, "a story in the lab");
  await keep(page, "54-story-in-lab");
  await page.getByTestId("lab-story-next").click();
  await expect(page).toHaveURL(/lab\/neurons$/);
  await expect(page.getByTestId("lab-gate-no")).toContainText("Nothing is explained that is not there", { timeout: 120_000 });
});
