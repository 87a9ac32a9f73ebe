// Pointing at tokens with mouse, pen, finger and keys, for a whole flow of them at once (events bubble up to it).
import { type KeyboardEvent, type PointerEvent, type RefObject, useLayoutEffect, useRef } from "react";
import type { Placed } from "../api/types";
import { range } from "../logic/tokens";
import { chooseFoil, chooseRange, chooseTarget, clearChoice } from "../state/choosing";
import { view } from "../state/choosing";
import { current, page, type RunName } from "../state/page";

const positionOf = (target: EventTarget | null): number | null => {
  const element = (target as Element | null)?.closest?.("[data-pos]");
  return element ? Number((element as HTMLElement).dataset.pos) : null;
};

export function useTokenKeys(root: RefObject<HTMLElement | null>, name: RunName, tokens: Placed[], onPoint: (at: number | null, element: HTMLElement | null) => void) {
  const drag = useRef<{ from: number; to: number; moved: boolean } | null>(null);
  const anchor = useRef<number | null>(null);
  // Choosing in the answer that is not looked at means: look at it.
  const look = () => { if (current(page.get()).name !== name) view(name); };
  const byPosition = (at: number) => tokens.find((token) => token.position === at);

  // One token of the flow is a tab stop: the last focused one, else the first of the answer.
  useLayoutEffect(() => {
    const all = root.current?.querySelectorAll<HTMLElement>("[data-pos]");
    if (!all || all.length === 0 || root.current!.querySelector('[data-pos][tabindex="0"]')) return;
    (root.current!.querySelector<HTMLElement>("[data-answer] [data-pos]") ?? all[0]!).tabIndex = 0;
  });

  const focus = (element: HTMLElement | null | undefined) => {
    if (!element) return;
    element.closest("[data-run]")?.querySelectorAll<HTMLElement>('[data-pos][tabindex="0"]').forEach((other) => { other.tabIndex = -1; });
    element.tabIndex = 0;
    element.focus();
  };

  const step = (from: HTMLElement, key: string): HTMLElement | undefined => {
    const whole = root.current!.closest("[data-conversation]") ?? root.current!;
    const all = [...whole.querySelectorAll<HTMLElement>("[data-pos]")].filter((element) => element.offsetParent !== null);
    const i = all.indexOf(from);
    if (key === "ArrowLeft") return all[i - 1];
    if (key === "ArrowRight") return all[i + 1];
    if (key === "Home") return all[0];
    if (key === "End") return all.at(-1);
    // Up and down: the nearest token on the line above or below.
    const here = from.getBoundingClientRect(), x = (here.left + here.right) / 2;
    const down = key === "ArrowDown";
    let best: HTMLElement | undefined, line: number | null = null, distance = Infinity;
    for (const element of down ? all.slice(i + 1) : all.slice(0, i).reverse()) {
      const box = element.getBoundingClientRect();
      if (down ? box.top < here.bottom - 2 : box.bottom > here.top + 2) continue;
      if (line !== null && Math.abs(box.top - line) > 4) break;
      line ??= box.top;
      const off = Math.abs((box.left + box.right) / 2 - x);
      if (off < distance) { distance = off; best = element; }
    }
    return best;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const at = positionOf(event.target);
    if (at === null || event.altKey || event.ctrlKey || event.metaKey) return;
    const element = (event.target as Element).closest<HTMLElement>("[data-pos]")!;
    const token = byPosition(at);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (!token) return;
      look();
      if (event.shiftKey) chooseFoil(token);
      else chooseTarget(at, token);
    } else if (event.key === "Escape") {
      event.preventDefault();
      anchor.current = null;
      clearChoice();
      onPoint(null, null);
    } else if (/^(Arrow(Left|Right|Up|Down)|Home|End)$/.test(event.key)) {
      const next = step(element, event.key);
      if (!next) return;
      event.preventDefault();
      if (event.shiftKey) {
        anchor.current ??= at;
        chooseRange(range(anchor.current, Number(next.dataset.pos), tokens.length));
      } else anchor.current = null;
      focus(next);
    }
  };

  const onPointerDown = (event: PointerEvent) => {
    const at = positionOf(event.target);
    if (at === null || event.button !== 0 || event.shiftKey) return;
    drag.current = { from: at, to: at, moved: false };
  };

  const onPointerMove = (event: PointerEvent) => {
    // Touch scrolls; only a mouse or pen drags a range.
    if (!drag.current || event.pointerType === "touch" || !(event.buttons & 1)) return;
    const at = positionOf(document.elementFromPoint(event.clientX, event.clientY));
    if (at === null || at === drag.current.to) return;
    drag.current = { ...drag.current, to: at, moved: true };
    const chosen = range(drag.current.from, at, tokens.length);
    const now = page.get().range;
    if (chosen?.[0] !== now?.[0] || chosen?.[1] !== now?.[1]) chooseRange(chosen);
  };

  const onClick = (event: React.MouseEvent) => {
    const dragged = drag.current?.moved;
    drag.current = null;
    if (dragged) return;
    const at = positionOf(event.target);
    const token = at === null ? undefined : byPosition(at);
    if (!token) return;
    focus((event.target as Element).closest<HTMLElement>("[data-pos]"));
    look();
    if (event.shiftKey) chooseFoil(token);
    else chooseTarget(at!, token);
  };

  const point = (event: { target: EventTarget }) => {
    const at = positionOf(event.target);
    if (at !== null) onPoint(at, (event.target as Element).closest<HTMLElement>("[data-pos]"));
  };

  return {
    onKeyDown, onPointerDown, onPointerMove, onClick, onFocus: point,
    onPointerOver: (event: PointerEvent) => { if (!(event.buttons & 1)) point(event); },
    onPointerLeave: () => { drag.current = null; onPoint(null, null); },
    onBlur: (event: React.FocusEvent) => { if (!root.current?.contains(event.relatedTarget)) onPoint(null, null); },
  };
}
