// A run's tokens that can be pointed at: heat, keys, and what else the model could have said there.
import { type ReactNode, useCallback, useRef, useState } from "react";
import type { Placed } from "../api/types";
import type { Heat } from "../logic/heat";
import type { Run, RunName } from "../state/page";
import { TokenCard } from "./TokenCard";
import { useTokenHeat } from "./useTokenHeat";
import { useTokenKeys } from "./useTokenKeys";

interface Props { run: Run; name: RunName; tokens: Placed[]; heat: Heat | null; active: boolean; drawn?: unknown; part: "prompt" | "answer"; children: ReactNode }

export function TokenFlow({ run, name, tokens, heat, active, drawn, part, children }: Props) {
  const root = useRef<HTMLDivElement>(null);
  const [pointed, setPointed] = useState<{ at: number; element: HTMLElement } | null>(null);
  const leaving = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  // A moment's grace, so that the pointer can travel from the token onto its card.
  const point = useCallback((at: number | null, element: HTMLElement | null) => {
    clearTimeout(leaving.current);
    if (at !== null && element) setPointed({ at, element });
    else leaving.current = setTimeout(() => setPointed(null), 180);
  }, []);
  const hold = useCallback(() => clearTimeout(leaving.current), []);
  const keys = useTokenKeys(root, name, tokens, point);
  useTokenHeat(root, active ? heat : null, [tokens, drawn]);
  return (
    <div ref={root} className={`flow${active ? " is-active" : ""}`} data-run={name} data-testid={`flow-${part}`} {...keys}>
      {children}
      {pointed && <TokenCard run={run} tokens={tokens} at={pointed.at} element={pointed.element} heat={heat} onHold={hold} onLeave={() => point(null, null)} />}
    </div>
  );
}
