import { ask, explain, expect, keep, type Page, test } from "./page";

/** The server is real; only the first such request sets out late, so that there is time to stop it on any machine. */
async function late(page: Page, path: string): Promise<void> {
  let first = true;
  await page.route(`**/api/${path}`, async (route) => {
    if (first) {
      first = false;
      await new Promise((resolve) => setTimeout(resolve, 4000));
    }
    // It may have been given up meanwhile.
    await route.continue().catch(() => undefined);
  });
}

test("a long explanation shows how far it is, can be stopped, and run again", async ({ page }) => {
  await late(page, "explain");
  await ask(page);
  const given = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/api/explain"));
  await page.getByTestId("answer-plain").locator("[data-pos]").filter({ hasText: "Paris" }).first().click();
  const matters = page.getByTestId("panel-matters");
  await expect(matters.getByTestId("cancel")).toBeVisible();
  await expect(matters).toContainText(/Finding what led to this token… \d+ tokens/);
  await expect(matters.getByTestId("elapsed")).toHaveText(/[2-9] s/);
  await keep(page, "15-working");
  await matters.getByTestId("cancel").click();
  await given;
  await expect(matters.getByTestId("stopped")).toContainText("Stopped.");
  await expect(page.getByTestId("panel-units").getByTestId("stopped")).toBeVisible();
  await expect(page.getByTestId("cluster-0")).toHaveCount(0);
  await keep(page, "16-stopped");
  await matters.getByTestId("run-again").click();
  await expect(page.getByTestId("cluster-0")).toBeVisible({ timeout: 60_000 });
  await expect(page.getByTestId("unit-row-0")).toBeVisible();
  await expect(page.getByTestId("stopped")).toHaveCount(0);
});

test("a check can be stopped, and run again", async ({ page }) => {
  await late(page, "ablate");
  await ask(page);
  await explain(page);
  await page.getByTestId("cluster-check-0").click();
  const card = page.getByTestId("cluster-0");
  await expect(card).toContainText(/Removing \d+ units/);
  await card.getByTestId("cancel").click();
  await expect(card.getByTestId("stopped")).toBeVisible();
  await expect(page.getByTestId("cluster-result-0")).toHaveCount(0);
  await card.getByTestId("run-again").click();
  await expect(page.getByTestId("cluster-result-0")).toContainText("The effect", { timeout: 60_000 });
});
