// Against a second server, which asks for a token and has no atlas yet.
import { accessible, expect, keep, type Page, test } from "./page";

const { PELLUCID_TOKEN_URL: url, PELLUCID_TOKEN: token = "" } = process.env;
test.skip(url === undefined, "needs a server with a token and without an atlas");
test.use({ baseURL: url });

async function enter(page: Page, value: string): Promise<void> {
  await page.getByTestId("token-input").fill(value);
  await page.keyboard.press("Enter");
}

// First, while the build that the server began by itself is still on its way.
test("an atlas is built from the page: its progress, and stopping it", async ({ page }) => {
  await page.goto("./");
  await enter(page, token);
  await page.getByTestId("atlas-state").click();
  // The server began a build by itself: that one is stopped first.
  const job = page.locator('[data-testid^="job-"]:has(button)');
  await expect(job).toHaveCount(1, { timeout: 30_000 });
  await job.getByRole("button", { name: "Stop this job" }).click();
  await expect(job).toHaveCount(0, { timeout: 30_000 });
  await expect(page.getByTestId("atlas-state")).toHaveText("no atlas yet");

  await page.getByTestId("build-atlas").click();
  await expect(job).toHaveCount(1, { timeout: 30_000 });
  await expect(page.getByTestId("atlas-state")).toHaveText(/atlas: \d+(\.\d+)?%/, { timeout: 60_000 });
  await expect(job).toContainText(/atlas: \S/);
  await keep(page, "18-building");
  await job.getByRole("button", { name: "Stop this job" }).click();
  await expect(job).toHaveCount(0, { timeout: 30_000 });
  await expect(page.getByTestId("atlas-state")).toHaveText("no atlas yet");
  await expect(page.getByTestId("build-atlas"), "it can be begun again").toBeEnabled();
});

test("a server with a token asks for it, refuses a wrong one politely, and opens with the right one", async ({ page }) => {
  await page.goto("./");
  await expect(page.getByTestId("token-dialog")).toContainText("This server asks for a token.");
  await expect(page.getByTestId("model-name")).toHaveText("…");
  await accessible(page, "token dialog");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("token-dialog")).toBeVisible();
  await enter(page, "certainly-not-the-token");
  await expect(page.getByTestId("token-dialog")).toContainText("The server did not accept that token.");
  await keep(page, "17-token");
  await enter(page, token);
  await expect(page.getByTestId("token-dialog")).toHaveCount(0);
  await expect(page.getByTestId("model-name")).toHaveText("smollm2");
  await page.getByTestId("chat-input").fill("What is the capital of France?");
  await page.getByTestId("send").click();
  await expect(page.getByTestId("answer-plain")).toContainText("Paris", { timeout: 90_000 });
  await page.reload();
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await expect(page.getByTestId("token-dialog"), "the tab remembers it").toHaveCount(0);
});
