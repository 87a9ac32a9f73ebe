// A dictionary as a whole: what it is, how its latents are spread, where they lie and which they are.
import { accessible, expect, keep, type Page, test } from "./page";

const rows = async (page: Page): Promise<number> => Number(await page.getByTestId("dictionary-table").getAttribute("data-rows"));

async function open(page: Page): Promise<number> {
  await page.goto("./#/dictionary");
  await expect(page.getByTestId("dictionary-map-panel")).toHaveAttribute("data-state", "ready", { timeout: 90_000 });
  await expect(page.getByTestId("dictionary-spread")).toBeVisible();
  await expect(page.getByTestId("dictionary-row-0").locator(".l-words")).not.toBeEmpty();
  return rows(page);
}

/** Everything of the page, not only what the window shows. */
async function whole(page: Page, name: string): Promise<void> {
  const size = page.viewportSize()!;
  const height = await page.getByTestId("dictionary-view").evaluate((view) => view.scrollHeight);
  await page.setViewportSize({ width: size.width, height: height + 60 });
  await page.waitForTimeout(300);
  await keep(page, name);
  await page.setViewportSize(size);
}

/** Where a latent is drawn, as long as nobody has zoomed. */
async function spot(page: Page, latent: number): Promise<{ x: number; y: number }> {
  const name = (await page.getByTestId("dictionary-facts").locator("h2").first().innerText()).trim();
  const { map } = (await (await page.request.post("./api/dictionary/map", { data: { name } })).json()) as { map: { x: number[]; y: number[] } };
  const canvas = page.getByTestId("dictionary-map").locator("canvas");
  await canvas.scrollIntoViewIfNeeded();
  const box = (await canvas.boundingBox())!, scale = Math.min(box.width, box.height) - 28;
  return { x: box.x + (box.width - scale) / 2 + (map.x[latent]! / 65_535) * scale, y: box.y + (box.height - scale) / 2 + (1 - map.y[latent]! / 65_535) * scale };
}

test("its facts, its spread, and its latents sorted and chosen", async ({ page }) => {
  await page.goto("./");
  await page.getByTestId("nav-dictionary").click();
  const all = await open(page);
  expect(all).toBeGreaterThan(100);
  await expect(page.getByTestId("dictionary-facts")).toContainText("resid_post.15");
  await expect(page.getByTestId("dictionary-card")).toContainText(/Explained variance\s*\d/);
  await expect(page.getByTestId("dictionary-card")).toContainText(/Loss recovered\s*\d/);
  await expect(page.getByTestId("dictionary-atlas")).toContainText(/[\d,]+ tokens/);
  await expect(page.getByTestId("dictionary-scores")).toBeVisible();
  // the best score first; then by density, both ways
  const numbers = (column: string) => page.locator(`.latent-scroll .l-${column}`).evaluateAll((cells) => cells.map((cell) => parseFloat(cell.textContent!.replace("−", "-").replace("<", ""))));
  const scores = await numbers("score");
  expect(scores.slice(0, 8)).toEqual([...scores.slice(0, 8)].sort((a, b) => b - a));
  await page.getByTestId("dictionary-sort-density").click();
  await expect(page.locator(".latent-head .l-density")).toHaveAttribute("aria-sort", "descending");
  const densities = (await numbers("density")).slice(0, 8);
  expect(densities).toEqual([...densities].sort((a, b) => b - a));
  await page.getByTestId("dictionary-sort-index").click();
  await expect(page.getByTestId("dictionary-row-0")).toHaveAttribute("data-latent", "0");
  // what stands out is a list
  for (const what of ["dead", "ultra-low", "dense"]) {
    const chip = page.getByTestId(`dictionary-${what}`), count = Number((await chip.locator("b").innerText()).replace(/,/g, ""));
    if (count === 0) { await expect(chip).toBeDisabled(); continue; }
    await chip.click();
    expect(await rows(page)).toBe(count);
    await page.getByTestId("dictionary-unselect").click();
  }
  const bar = page.getByTestId("dictionary-density").locator(".bars-pick").nth(2);
  const told = Number(/: ([\d,]+) latents/.exec((await bar.locator("title").textContent())!)![1]!.replace(/,/g, ""));
  await bar.click();
  expect(await rows(page)).toBe(told);
  await page.getByTestId("dictionary-unselect").click();
  expect(await rows(page)).toBe(all);
});

test("by keys alone: search, walk, open, come back", async ({ page }) => {
  const all = await open(page);
  const said = await page.locator(".latent-scroll .words-text").allInnerTexts();
  const word = /[A-Za-z]{4,}/.exec(said.join(" "))![0];
  await page.keyboard.press("/");
  await expect(page.getByTestId("dictionary-search")).toBeFocused();
  await page.keyboard.type(word);
  // every letter typed is a search, and the first ones may find nothing
  await expect(page.getByTestId("dictionary-shown")).toContainText(/^[\d,]+ of /);
  const found = await rows(page);
  expect(found).toBeLessThan(all);
  expect(found).toBeGreaterThan(0);
  await expect(page.getByTestId("dictionary-shown")).toContainText(`${found.toLocaleString("en-GB")} of ${all.toLocaleString("en-GB")}`);
  await expect(page.getByTestId("dictionary-row-0").locator(".l-words")).toContainText(new RegExp(word.slice(0, 4), "i"));
  await page.getByTestId("dictionary-row-0").focus();
  if (found > 1) {
    await page.keyboard.press("ArrowDown");
    await expect(page.getByTestId("dictionary-row-1")).toBeFocused();
  }
  const latent = await page.locator(":focus").getAttribute("data-latent");
  await expect(page.getByTestId("dictionary-map")).toHaveAttribute("data-latent", latent!);
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("unit-page")).toHaveAttribute("data-unit", new RegExp(`^sae:.+/${latent}$`));
  await page.goBack();
  await expect(page.getByTestId("dictionary-search")).toHaveValue(word);
  await expect.poll(() => rows(page)).toBe(found);
  await page.getByTestId("dictionary-search").fill("zxqvjk");
  await expect(page.getByTestId("dictionary-list")).toContainText("No description holds");
  await page.getByTestId("dictionary-by-meaning").click();
  await expect.poll(() => rows(page), { timeout: 60_000 }).toBeGreaterThan(0);
  await page.getByTestId("dictionary-search").fill("");
  await expect.poll(() => rows(page)).toBe(all);
  // the map by keys
  const map = page.getByTestId("dictionary-map");
  await map.focus();
  await page.keyboard.press("+");
  await expect(map).toHaveAttribute("data-scale", "1.50");
  await page.keyboard.press("0");
  await expect(map).toHaveAttribute("data-scale", "1.00");
});

test("the map: a point is shown, a line around points lists them, a click opens one", async ({ page }) => {
  const all = await open(page);
  const latent = Number(await page.getByTestId("dictionary-row-0").getAttribute("data-latent"));
  const at = await spot(page, latent);
  await page.mouse.move(at.x, at.y);
  // several may lie together: one of them is shown
  await expect(page.getByTestId("dictionary-card-over")).toContainText(/stream15\/\d+/);
  const shown = await page.getByTestId("dictionary-map").getAttribute("data-latent");
  await expect(page.getByTestId("dictionary-card-over")).toContainText(/active .+ max/);
  await keep(page, "50-dictionary-pointed");
  await page.getByTestId("dictionary-lasso").click();
  await page.mouse.move(at.x - 40, at.y - 40);
  await page.mouse.down();
  for (const [x, y] of [[40, -40], [40, 40], [-40, 40]] as const) await page.mouse.move(at.x + x, at.y + y, { steps: 4 });
  await page.mouse.up();
  await expect(page.getByTestId("dictionary-shown")).toContainText("selected on the map");
  const inside = await rows(page);
  expect(inside).toBeGreaterThan(0);
  expect(inside).toBeLessThan(all);
  // the one in the middle had the best score of all
  await expect(page.getByTestId("dictionary-row-0")).toHaveAttribute("data-latent", String(latent));
  await keep(page, "51-dictionary-selected");
  await page.getByTestId("dictionary-lasso").click();
  await page.getByTestId("dictionary-unselect").click();
  for (const colour of ["density", "most", "score"]) await page.getByTestId("dictionary-colour").selectOption(colour);
  await page.mouse.move(at.x + 1, at.y);
  await page.mouse.move(at.x, at.y);
  await page.mouse.click(at.x, at.y);
  await expect(page.getByTestId("unit-page")).toHaveAttribute("data-unit", new RegExp(`/${shown}$`));
});

test("it can be read in both themes and in a narrow window", async ({ page }) => {
  await open(page);
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page, `dictionary, ${colorScheme}`);
    await whole(page, `52-dictionary-${colorScheme}`);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.reload();
  await open(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
  expect(await page.getByTestId("dictionary-view").evaluate((view) => view.scrollWidth - view.clientWidth)).toBeLessThanOrEqual(0);
  await accessible(page, "narrow dictionary");
  await whole(page, "53-dictionary-narrow");
});

test("what is missing or wrong is said", async ({ page }) => {
  await page.goto("./#/dictionary/nobody");
  await expect(page.getByRole("alert")).toContainText("no dictionary is named");
  await keep(page, "54-dictionary-unknown");
  // no atlas: what is known stands, with the command that makes one
  await page.route(/\/api\/dictionary\?/, async (route) => {
    const reply = await route.fetch();
    await route.fulfill({ response: reply, json: { ...(await reply.json()), atlas: null, card: null } });
  });
  await page.goto("./#/dictionary");
  await expect(page.getByTestId("dictionary-no-atlas")).toContainText("pellucid atlas build");
  await expect(page.getByTestId("dictionary-card")).toContainText("pellucid dict eval");
  await expect(page.getByTestId("dictionary-row-0")).toContainText("no description");
  await expect(page.getByTestId("dictionary-search")).toBeDisabled();
  await expect(page.getByTestId("dictionary-map-panel")).toHaveAttribute("data-state", "ready", { timeout: 90_000 });
  await accessible(page, "dictionary without atlas");
  await whole(page, "55-dictionary-no-atlas");
  // a map that fails leaves the list
  await page.route("**/api/dictionary/map", (route) => route.fulfill({ status: 500, json: { error: { code: "internal", message: "The disk is full." } } }));
  await page.reload();
  await expect(page.getByTestId("dictionary-map-panel")).toContainText("The disk is full.");
  await expect(page.getByTestId("dictionary-row-0")).toBeVisible();
  await whole(page, "56-dictionary-no-map");
  // no dictionary at all: no entry, and its address says how to get one
  await page.route("**/api/status", async (route) => {
    const reply = await route.fetch();
    await route.fulfill({ response: reply, json: { ...(await reply.json()), dictionaries: [] } });
  });
  await page.goto("./#/lens");
  await page.reload();
  await expect(page.getByTestId("nav-lens")).toBeVisible();
  await expect(page.getByTestId("model-name")).not.toHaveText("…");
  await expect(page.getByTestId("nav-dictionary")).toHaveCount(0);
  await page.goto("./#/dictionary");
  await expect(page.getByTestId("dictionary-none")).toContainText("--dictionary NAME=PATH");
  await accessible(page, "no dictionary");
  await keep(page, "57-dictionary-none");
});
