import { readFile } from "node:fs/promises";
import { ask, explain, expect, keep, test, turnOff } from "./page";

interface File { tokens: number[]; plain: { tokens: number[] }; edited: { tokens: number[] } }

test("a run's file, opened again, says the same bytes", async ({ page }, info) => {
  await ask(page);
  await explain(page);
  await turnOff(page);
  const steered = await page.getByTestId("answer-steered").locator(".tokens").innerText();
  await page.getByTestId("share").click();
  const [saved] = await Promise.all([page.waitForEvent("download"), page.getByTestId("share-download").click()]);
  expect(saved.suggestedFilename()).toBe("pellucid-run-what-is-the-capital-of-france.json");
  const path = info.outputPath("run.json");
  await saved.saveAs(path);
  const file = JSON.parse(await readFile(path, "utf8")) as File;
  expect(file.plain.tokens.length).toBeGreaterThan(0);
  expect(file.edited.tokens).not.toEqual(file.plain.tokens);

  // A tab that has another conversation: the file goes before it.
  await page.keyboard.press("Escape");
  await page.getByTestId("start-over").click();
  await ask(page, "Name a colour.");
  await page.getByTestId("share").click();
  await page.getByTestId("share-upload").setInputFiles(path);
  await expect(page.getByTestId("run-same")).toHaveAttribute("data-same", "true", { timeout: 90_000 });
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  expect(await page.getByTestId("answer-steered").locator(".tokens").innerText()).toBe(steered);
  await expect(page.getByText("Name a colour.")).toHaveCount(0);
  await keep(page, "13-file-opened");

  // A token of the answer changed by hand: it says so, and where.
  file.plain.tokens[0]! += 1;
  await page.getByTestId("share").click();
  await page.getByTestId("share-upload").setInputFiles({ name: "changed.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(file)) });
  await expect(page.getByTestId("run-same")).toHaveAttribute("data-same", "false", { timeout: 90_000 });
  await page.getByTestId("share-upload").setInputFiles({ name: "no.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  await expect(page.getByRole("alert").filter({ hasText: "This file is not a run" })).toBeVisible();
});
