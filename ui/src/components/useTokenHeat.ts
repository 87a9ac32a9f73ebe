import { type RefObject, useLayoutEffect } from "react";
import { type Heat, shades } from "../logic/heat";

/** Shades put straight on the elements: a hover over a table row must not draw 2,000 components again. */
export function useTokenHeat(root: RefObject<HTMLElement | null>, heat: Heat | null, drawn: unknown): void {
  useLayoutEffect(() => {
    const tokens = root.current?.querySelectorAll<HTMLElement>("[data-pos]");
    if (!tokens) return;
    const list = heat ? shades(heat.values, heat.full) : [];
    for (const element of tokens) {
      const shade = list[Number(element.dataset.pos)];
      if (!shade || shade.strength === 0) {
        element.style.removeProperty("--heat");
        delete element.dataset.sign;
      } else {
        element.style.setProperty("--heat", String(shade.strength));
        element.dataset.sign = heat!.kind === "amount" ? "amount" : shade.sign;
      }
    }
  }, [root, heat, drawn]);
}
