import { useEffect } from "react";
import { view } from "../state/choosing";
import { current, page } from "../state/page";

const typing = (element: Element | null) => element?.matches("input, textarea, select, [contenteditable]") ?? false;
const focus = (selector: string) => { document.querySelector<HTMLElement>(selector)?.focus(); };

/** Keys that work wherever one is not typing; documented in the help. */
export function useHotkeys(onHelp: () => void): void {
  useEffect(() => {
    let go = 0;
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(document.activeElement)) return;
      if (document.querySelector("[role=dialog].dialog") && event.key !== "?") return;
      const now = Date.now();
      if (now - go < 1500 && "wlbds".includes(event.key)) {
        go = 0;
        location.hash = { w: "#/", l: "#/lens", b: "#/lab", d: "#/dictionary", s: "#/stories" }[event.key as "w" | "l" | "b" | "d" | "s"];
        return;
      }
      switch (event.key) {
        case "?": onHelp(); break;
        case "/": page.set({ panel: "units" }); requestAnimationFrame(() => focus('[data-hotkey="filter"]')); break;
        case "c": page.set({ panel: "chat" }); requestAnimationFrame(() => focus('[data-testid="chat-input"]')); break;
        case "t": page.set({ panel: "chat" }); requestAnimationFrame(() => focus('[data-answer] [data-pos][tabindex="0"]')); break;
        case "v": view(current(page.get()).name === "plain" ? "steered" : "plain"); break;
        case "g": go = now; return;
        default: return;
      }
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  });
}
