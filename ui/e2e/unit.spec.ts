import { expect, keep, type Page, test } from "./page";

const UNIT = "mlp_act.22/7+";

async function open(page: Page): Promise<void> {
  await page.goto(`./#/unit/${UNIT}`);
  await expect(page.getByTestId("exemplars-top")).toBeVisible({ timeout: 30_000 });
}

test("one person has one vote on a description, and may change it", async ({ page }) => {
  await open(page);
  const first = page.locator('[data-testid^="description-"]').first();
  const id = (await first.getAttribute("data-testid"))!.split("-")[1]!;
  const votes = (way: "up" | "down") => page.getByTestId(`description-${id}`).locator(`[data-votes="${way}"]`);
  // Earlier runs have voted as other people: what counts is the change.
  const up = Number(await votes("up").innerText()), down = Number(await votes("down").innerText());
  await page.getByTestId(`agree-${id}`).click();
  await expect(votes("up")).toHaveText(String(up + 1));
  await page.getByTestId(`agree-${id}`).click();
  await page.getByTestId(`disagree-${id}`).click();
  await expect(votes("down")).toHaveText(String(down + 1));
  await expect(votes("up")).toHaveText(String(up));
  await page.reload();
  await expect(votes("down")).toHaveText(String(down + 1));
});

test("a description of one's own stands there with its writer", async ({ page }) => {
  await open(page);
  const mine = `what follows a colon, says test ${Date.now()}`;
  await expect(page.getByTestId("describe-send")).toBeDisabled();
  await page.getByTestId("describe-input").fill(mine);
  await page.getByTestId("describe-send").click();
  const written = page.locator('[data-testid^="description-"]').filter({ hasText: mine });
  await expect(written).toContainText(/by person [0-9a-f]{8}/);
  await expect(page.getByTestId("describe-input")).toHaveValue("");
  await page.reload();
  await expect(written).toHaveCount(1);
  // It belongs to this side of zero only.
  await page.getByTestId("side-minus").click();
  await expect(written).toHaveCount(0);
});

test("a unit on one's own text: its strongest token is marked", async ({ page }) => {
  await open(page);
  const sample = await page.getByTestId("exemplars-top").locator(".exemplar .tokens").first().innerText();
  await page.getByTestId("unit-test").fill(sample.replaceAll("⏎", "\n"));
  const result = page.getByTestId("unit-test-result");
  await expect(result).toContainText(/Strongest at .+: [\d.]+.*× its typical strength/, { timeout: 60_000 });
  await expect(result.locator('[data-sign="+"]').first()).toBeVisible();
  await keep(page, "12-unit-tested");
  await page.getByTestId("unit-test").fill("");
  await expect(result).toHaveCount(0);
});
