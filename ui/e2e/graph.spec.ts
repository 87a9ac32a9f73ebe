// The graph of a prompt: run, looked at, pruned, pinned, grouped, zeroed, saved.
import { whole } from "./labpage";
import { accessible, expect, type Page, test } from "./page";

async function run(page: Page): Promise<void> {
  await page.goto("./#/lab/graph");
  await page.getByTestId("graph-prompt").fill("The capital of France is");
  await page.getByTestId("graph-neurons").fill("150");
  await page.getByTestId("graph-check").fill("6");
  await page.getByTestId("graph-start").click();
  await expect(page.getByTestId("graph-run")).toHaveAttribute("data-state", "done", { timeout: 240_000 });
}

const shown = async (page: Page, what: string) => Number((await page.getByTestId(`${what}-value`).innerText()).split(": ")[1]!.replace(/,/g, ""));

test("a graph is run, pruned, walked, grouped, zeroed and saved", async ({ page }) => {
  test.setTimeout(400_000);
  await run(page);
  await expect(page.getByTestId("graph-summary")).toContainText(/Replacement .* completeness/);
  await expect(page.getByTestId("graph-checks").locator("tbody tr")).toHaveCount(6);
  await expect(page.getByTestId("graph-agreement")).toContainText("of the controls");
  // the sliders take nodes and edges away
  const [nodes, edges] = [await shown(page, "graph-nodes"), await shown(page, "graph-edges")];
  await page.getByTestId("graph-nodes").fill("0.5");
  expect(await shown(page, "graph-nodes")).toBeLessThan(nodes);
  expect(await shown(page, "graph-edges")).toBeLessThanOrEqual(edges);
  await page.getByTestId("graph-nodes").fill("1");
  await page.getByTestId("graph-edges").fill("0.2");
  expect(await shown(page, "graph-edges")).toBeLessThan(edges);
  await page.getByTestId("graph-edges").fill("0.6");
  expect(await shown(page, "graph-edges")).toBe(edges);
  // keys walk and pin
  const picture = page.getByTestId("graph-picture");
  await picture.press("ArrowUp");
  await expect(page.getByTestId("graph-chosen")).toBeVisible();
  const first = await page.getByTestId("graph-chosen").getAttribute("data-node");
  await picture.press("ArrowDown");
  await expect(page.getByTestId("graph-chosen")).not.toHaveAttribute("data-node", first!);
  await page.getByTestId("graph-unchoose").click();
  // zoom and back
  const scale = await picture.getAttribute("data-scale");
  await page.getByTestId("graph-nearer").click();
  await expect(picture).not.toHaveAttribute("data-scale", scale!);
  await page.getByTestId("graph-whole").click();
  await expect(picture).toHaveAttribute("data-scale", scale!);
  // pin two, group and name them
  for (const nth of [0, 1]) {
    await page.getByTestId("graph-foremost").getByRole("button").nth(nth).click();
    await expect(page.getByTestId("graph-out").locator("li").first()).toBeVisible();
    await page.getByTestId("graph-pin").click();
    await page.getByTestId("graph-unchoose").click();
  }
  await page.getByTestId("graph-group").click();
  await page.getByTestId("graph-group-0").fill("beginning");
  await expect(picture.locator(".graph-group-name")).toHaveText("beginning");
  // zeroed alone and together, and the model asked
  await page.getByTestId("graph-foremost").getByRole("button").first().click();
  await page.getByTestId("graph-zero").click();
  await expect(page.getByTestId("graph-trial")).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  // one that was checked says the same again
  const checked = await page.getByTestId("graph-checks").locator("tbody tr").first().locator("td").nth(2).innerText();
  await expect(page.getByTestId("graph-measured")).toHaveText(checked);
  await page.getByTestId("graph-zero-group-0").click();
  await expect(page.getByTestId("graph-trial")).toContainText("Without beginning");
  await expect(page.getByTestId("graph-trial")).toHaveAttribute("data-state", "done", { timeout: 60_000 });
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page, `graph, ${colorScheme}`);
    await whole(page, `46-graph-${colorScheme}`);
  }
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByTestId("graph-download").click()]);
  const parts = await (await file.createReadStream()).toArray();
  const json = JSON.parse(Buffer.concat(parts as Buffer[]).toString()) as { qParams: { supernodes: string[][]; pinnedIds: string[] }; nodes: { node_id: string }[]; links: { source: string; target: string }[] };
  expect(json.qParams.supernodes).toHaveLength(1);
  expect(json.qParams.supernodes[0]![0]).toBe("beginning");
  const ids = new Set(json.nodes.map((node) => node.node_id));
  for (const id of json.qParams.pinnedIds) expect(ids.has(id)).toBe(true);
  for (const link of json.links) expect(ids.has(link.source) && ids.has(link.target)).toBe(true);
});

test("a pointer over a node shows its edges, and a click pins it", async ({ page }) => {
  test.setTimeout(300_000);
  await run(page);
  const mark = page.getByTestId("graph-picture").locator(".graph-node.logit").first();
  await mark.hover();
  await expect(page.getByTestId("graph-picture").locator(".graph-lit path").first()).toBeVisible();
  await expect(page.getByTestId("graph-over")).not.toBeEmpty();
  await mark.click();
  await expect(page.getByTestId("graph-pinned")).toBeVisible();
  await expect(page.getByTestId("graph-picture").locator(".graph-node.is-pinned")).toHaveCount(1);
});

test("what is wrong is said, a run is stopped, and a narrow window holds it", async ({ page }) => {
  test.setTimeout(300_000);
  await page.goto("./#/lab/graph");
  await page.getByTestId("graph-target").fill("no single token");
  await page.getByTestId("graph-start").click();
  await expect(page.getByTestId("graph-run")).toContainText(/one token|tokens/, { timeout: 60_000 });
  await page.getByTestId("graph-target").fill("");
  await page.getByTestId("graph-neurons").fill("1000");
  await page.getByTestId("graph-prompt").fill("Once upon a time there was a king who lived in a castle by the sea and had three daughters, and the youngest of them was");
  await page.getByTestId("graph-start").click();
  await expect(page.getByTestId("graph-stop")).toBeVisible();
  await page.getByTestId("graph-stop").click();
  await expect(page.getByTestId("graph-run").getByTestId("stopped")).toBeVisible({ timeout: 60_000 });
  await page.setViewportSize({ width: 360, height: 740 });
  await run(page);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
  expect(await page.getByTestId("lab-view").evaluate((view) => view.scrollWidth - view.clientWidth)).toBeLessThanOrEqual(0);
  await accessible(page, "narrow graph");
  await whole(page, "47-graph-narrow");
});
