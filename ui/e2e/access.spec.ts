import { accessible, ask, explain, expect, keep, test, turnOff } from "./page";

for (const colorScheme of ["light", "dark"] as const) {
  test.describe(colorScheme, () => {
    test.use({ colorScheme });
    test(`every view passes axe, ${colorScheme}`, async ({ page }) => {
      test.setTimeout(240_000);
      await page.goto("./");
      await expect(page.getByTestId("welcome")).toBeVisible();
      await accessible(page, "empty workbench");
      await ask(page);
      await explain(page);
      await page.getByTestId("cluster-open-0").click();
      await accessible(page, "clusters");
      await turnOff(page);
      await accessible(page, "two answers");
      await keep(page, `20-workbench-${colorScheme}`);
      // a unit of a layer that the atlas holds: it has a score
      await page.locator('[data-testid^="unit-row-"]').filter({ hasText: /r [−-]?[01]\.\d/ }).first().click();
      await expect(page.getByTestId("unit-page").locator(".exemplars").first()).toBeVisible({ timeout: 30_000 });
      await accessible(page, "unit drawer");
      await page.keyboard.press("Escape");
      await page.getByTestId("nav-lens").click();
      await expect(page.getByTestId("lens-grid")).toBeVisible({ timeout: 60_000 });
      await accessible(page, "lens");
      await keep(page, `21-lens-${colorScheme}`);
      await page.getByTestId("nav-stories").click();
      await expect(page.locator("li.story").first()).toBeVisible();
      await accessible(page, "stories");
      await page.keyboard.press("?");
      await expect(page.getByTestId("help-dialog")).toBeVisible();
      await accessible(page, "help");
      await page.keyboard.press("Escape");
      await expect(page.getByTestId("help-dialog")).toHaveCount(0);
    });
  });
}

test("by keys alone: ask, explain, foil, range, filter", async ({ page }) => {
  await page.goto("./");
  await expect(page.getByTestId("welcome")).toBeVisible();
  await page.keyboard.press("c");
  await page.keyboard.type("What is the capital of France?");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("answer-plain")).toHaveAttribute("data-state", "done", { timeout: 90_000 });
  await page.keyboard.press("Escape");
  await page.keyboard.press("t");
  await expect(page.locator(":focus")).toHaveAttribute("data-pos", /\d+/);
  const from = Number(await page.locator(":focus").getAttribute("data-pos"));
  for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
  await expect(page.locator(":focus")).toHaveAttribute("data-pos", String(from + 5));
  await page.keyboard.press("Enter");
  await expect(page.locator(":focus")).toHaveAttribute("aria-selected", "true");
  await expect(page.getByTestId("cluster-0")).toBeVisible({ timeout: 60_000 });
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Shift+Enter");
  await expect(page.getByTestId("question")).toContainText("and not");
  await page.keyboard.press("Shift+ArrowLeft");
  await expect(page.locator(".token.in-range")).toHaveCount(2);
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("question")).toHaveCount(0);
  await page.keyboard.press("/");
  await expect(page.getByTestId("chat-input")).not.toBeFocused();
  await page.keyboard.press("t");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("unit-row-0")).toBeVisible({ timeout: 60_000 });
  await page.keyboard.press("/");
  await expect(page.getByTestId("units-filter")).toBeFocused();
});

test("on a phone, panels are tabs", async ({ page }) => {
  await page.setViewportSize({ width: 360, height: 740 });
  await ask(page);
  await page.getByTestId("answer-plain").locator("[data-pos]").filter({ hasText: "Paris" }).first().click();
  for (const panel of ["matters", "units", "steering", "guide", "chat"]) {
    await page.getByTestId(`panel-tab-${panel}`).click();
    if (panel === "matters") await expect(page.getByTestId("cluster-0")).toBeVisible({ timeout: 60_000 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    expect(wide, `${panel} fits`).toBeLessThanOrEqual(360);
    await keep(page, `30-phone-${panel}`);
    await accessible(page, `phone ${panel}`);
  }
});

test("a busy, locked or failing server is said in words", async ({ page }) => {
  let calls = 0;
  await page.route("**/api/generate", (route) => {
    calls += 1;
    return calls === 1
      ? route.fulfill({ status: 429, headers: { "retry-after": "1" }, json: { error: { code: "busy", message: "busy" } } })
      : calls === 2 ? route.fulfill({ status: 401, json: { error: { code: "unauthorized", message: "token missing" } } })
        : route.fulfill({ status: 500, json: { error: { code: "internal", message: "The model could not be run." } } });
  });
  await page.goto("./");
  await page.getByTestId("chat-input").fill("Hello");
  await page.getByTestId("send").click();
  await expect(page.getByTestId("busy")).toContainText("trying again");
  await page.getByTestId("token-input").fill("secret");
  await page.keyboard.press("Enter");
  await expect(page.getByTestId("answer-plain")).toContainText("The model could not be run.");
  await expect(page.getByTestId("retry")).toBeVisible();
  await keep(page, "31-failed");
});
