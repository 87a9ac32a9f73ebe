import { ask, expect, type Page, QUESTION, test } from "./page";

const said = (page: Page) => page.getByTestId("answer-plain").locator(".tokens").innerText();
/** Kept a moment after the last change. */
const reload = async (page: Page) => { await page.reload(); await expect(page.getByTestId("model-name")).not.toHaveText("…"); };

test("a reload keeps the conversation, its branches, settings and steering", async ({ page }) => {
  await page.goto("./");
  await page.getByTestId("system-toggle").click();
  await page.getByTestId("system-input").fill("Answer in one sentence.");
  await page.getByTestId("sampling").click();
  await page.getByTestId("max-tokens").fill("12");
  await page.keyboard.press("Escape");
  await page.getByTestId("chat-input").fill(QUESTION);
  await page.getByTestId("send").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  await page.locator('[data-testid^="edit-turn"]').first().click();
  await page.getByTestId("edit-input").fill("What is the capital of Italy?");
  await page.getByTestId("edit-send").click();
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  const italy = await said(page);
  await page.getByTestId("steer-upload").setInputFiles({
    name: "louder.json", mimeType: "application/json",
    buffer: Buffer.from(JSON.stringify({ specs: [{ name: "louder", what: { units: ["mlp_act.22/7+"] }, change: { scale: 4 }, positions: "all" }] })),
  });
  await expect(page.getByTestId("answer-steered")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  await page.getByTestId("chat-input").fill("And then?");

  const asked: string[] = [];
  page.on("request", (request) => { if (request.url().endsWith("/api/generate")) asked.push(request.url()); });
  await reload(page);
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done");
  expect(await said(page)).toBe(italy);
  await expect(page.getByTestId("answer-steered")).toBeVisible();
  await expect(page.getByTestId("spec-0")).toContainText("louder");
  await expect(page.getByTestId("chat-input")).toHaveValue("And then?");
  await expect(page.getByTestId("system-toggle")).toContainText("Answer in one sentence.");
  await page.getByTestId("sampling").click();
  await expect(page.getByTestId("max-tokens")).toHaveValue("12");
  await page.keyboard.press("Escape");
  await page.getByTestId("branch-back").first().click();
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  expect(asked, "nothing is generated again").toEqual([]);

  // What came back is no picture: it can be asked about and goes on.
  await page.getByTestId("answer-plain").locator("[data-pos]").filter({ hasText: "Paris" }).first().click();
  await expect(page.getByTestId("cluster-0")).toBeVisible({ timeout: 60_000 });

  await page.getByTestId("start-over").click();
  await expect(page.getByTestId("welcome")).toBeVisible();
  await reload(page);
  await expect(page.getByTestId("welcome")).toBeVisible();
});

test("a shared link goes before what was kept", async ({ page }) => {
  await ask(page);
  await page.getByTestId("share").click();
  await page.getByTestId("share-make").click();
  const link = await page.getByTestId("share-link").inputValue();
  await page.keyboard.press("Escape");
  await page.getByTestId("start-over").click();
  await ask(page, "Name a colour.");
  await page.goto("about:blank");
  await page.goto(link);
  await expect(page.getByTestId("run-same")).toContainText("Same bytes", { timeout: 90_000 });
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await expect(page.getByText("Name a colour.")).toHaveCount(0);
});

test("rubbish in storage, a full one or none at all does no harm", async ({ page }) => {
  await page.addInitScript(() => {
    localStorage.setItem("pellucid.sizes.1", '{"wide-guide":[1,"x"]}');
    const get = Storage.prototype.getItem;
    Storage.prototype.getItem = function (key: string) { return key.startsWith("pellucid.conversation") ? '{"version":1,"tree":[]}' : get.call(this, key); };
    Storage.prototype.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
  });
  await ask(page);
  await expect(page.getByTestId("answer-plain")).toContainText("Paris");
  await expect(page.getByRole("status").filter({ hasText: "too long for the browser to keep" })).toBeVisible();
  await reload(page);
  await expect(page.getByTestId("welcome")).toBeVisible();
});
