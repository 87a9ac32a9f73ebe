import { accessible, expect, keep, type Page, test } from "./page";

const width = async (page: Page, panel: string) => (await page.getByTestId(`panel-${panel}`).boundingBox())!.width;
const height = async (page: Page, panel: string) => (await page.getByTestId(`panel-${panel}`).boundingBox())!.height;

test("panels are resized by keys and by dragging, and stay so", async ({ page }) => {
  await page.goto("./");
  const border = page.getByTestId("resize-wide-guide-0");
  const before = await width(page, "chat"), units = await width(page, "units");
  const share = Number(await border.getAttribute("aria-valuenow"));
  await border.focus();
  for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowRight");
  await expect.poll(() => width(page, "chat")).toBeCloseTo(before + 48, 0);
  expect(await width(page, "units"), "only the neighbours change").toBeCloseTo(units, 0);
  await expect.poll(async () => Number(await border.getAttribute("aria-valuenow"))).toBeGreaterThan(share);
  await page.keyboard.press("Home");
  await expect.poll(() => width(page, "chat")).toBeCloseTo(400, 0);
  await expect(border).toHaveAttribute("aria-valuenow", (await border.getAttribute("aria-valuemin"))!);

  const down = page.getByTestId("resize-causes-0"), matters = await height(page, "matters");
  const box = (await down.boundingBox())!;
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y - 100, { steps: 5 });
  await page.mouse.up();
  await expect.poll(() => height(page, "matters")).toBeLessThan(matters - 80);
  const low = await height(page, "matters");
  await keep(page, "14-resized");
  await accessible(page, "resized");

  await page.reload();
  await expect.poll(() => width(page, "chat")).toBeCloseTo(400, 0);
  await expect.poll(() => height(page, "matters")).toBeCloseTo(low, 0);
  await page.getByTestId("resize-wide-guide-0").dblclick();
  await expect.poll(() => width(page, "chat")).toBeCloseTo(before, 0);
  await page.getByTestId("resize-causes-0").focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => height(page, "matters")).toBeCloseTo(matters, 0);
});

test("where there is no room there is nothing to drag", async ({ page }) => {
  await page.setViewportSize({ width: 1100, height: 800 });
  await page.goto("./");
  await expect(page.getByRole("separator")).toHaveCount(4);
  for (const narrow of [900, 360]) {
    await page.setViewportSize({ width: narrow, height: 740 });
    await expect(page.getByTestId("chat-input")).toBeVisible();
    await expect(page.getByRole("separator")).toHaveCount(0);
  }
});
