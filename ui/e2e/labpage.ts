// What the specs of the laboratory share.
import { accessible, expect, keep, type Page } from "./page";

/** Few items, so that each takes seconds. */
export async function open(page: Page, method: string, behaviour: string, items: number): Promise<void> {
  await page.goto(`./#/lab/${method}`);
  await page.getByTestId("lab-source").selectOption(behaviour);
  await page.getByTestId("lab-items").fill(String(items));
}

export async function run(page: Page, timeout = 240_000): Promise<void> {
  await page.getByTestId("lab-start").click();
  await expect(page.getByTestId("lab-run")).toHaveAttribute("data-state", "done", { timeout });
}

/** Everything in it, not only what the window shows. */
export async function whole(page: Page, name: string): Promise<void> {
  const size = page.viewportSize()!;
  const height = await page.getByTestId("lab-view").evaluate((view) => view.scrollHeight);
  await page.setViewportSize({ width: size.width, height: height + 60 });
  await keep(page, name);
  await page.setViewportSize(size);
}

/** The same in both themes, looked at by axe in each. */
export async function bothThemes(page: Page, name: string): Promise<void> {
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page, `${name}, ${colorScheme}`);
    await whole(page, `${name}-${colorScheme}`);
  }
}

/** Items of one's own, as they are pasted. */
export const lines = (items: unknown[]) => items.map((item) => JSON.stringify(item)).join("\n");
