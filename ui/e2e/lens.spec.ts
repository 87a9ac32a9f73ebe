import { ask, expect, keep, type Page, test, word } from "./page";

/** Opens the lens; gives the place before "Paris", where it is about to be said. */
async function lens(page: Page): Promise<number> {
  await word(page, "Paris").click();
  const at = Number(await page.locator(".token.is-target").getAttribute("data-pos"));
  await page.getByTestId("nav-lens").click();
  await expect(page.getByTestId("lens-grid")).toBeVisible({ timeout: 60_000 });
  return at - 1;
}

async function choose(page: Page, layer: number, at: number): Promise<void> {
  await page.getByTestId(`lens-resid_post.${layer}-${at}`).click();
  await expect(page.getByTestId("lens-card")).toContainText("entropy");
}

async function bothAnswers(page: Page): Promise<{ plain: string; steered: string }> {
  await page.getByTestId("lens-card").getByRole("link", { name: "See both answers" }).click();
  await expect(page.getByTestId("answer-steered")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  const [plain, steered] = await Promise.all(["plain", "steered"].map((run) => page.getByTestId(`answer-${run}`).locator(".tokens").innerText()));
  return { plain: plain!, steered: steered! };
}

test("a layer silenced from the lens changes the answer", async ({ page }) => {
  await ask(page);
  const at = await lens(page);
  await page.getByTestId("lens-colour").selectOption("rank");
  await choose(page, 29, at);
  await keep(page, "10-lens");
  await page.getByTestId("lens-ablate").click();
  const { plain, steered } = await bothAnswers(page);
  await expect(page.getByTestId("spec-0")).toContainText("silenced");
  expect(plain).toContain("Paris");
  expect(steered).not.toBe(plain);
  await expect(page.getByTestId("diff-sentence")).toContainText("differ");
});

test("what another text has there makes the model say that text's next word", async ({ page }) => {
  await ask(page);
  const at = await lens(page);
  await choose(page, 29, at);
  await page.getByTestId("lens-patch-text").fill("Rome is the capital of Italy. Berlin is the capital of");
  await page.getByTestId("lens-patch").click();
  const { plain, steered } = await bothAnswers(page);
  expect(plain).toContain("Paris");
  expect(steered).toContain("Germany");
});
