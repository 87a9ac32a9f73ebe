// Panes beside or above each other, with borders that can be dragged or moved by keys.
import { type KeyboardEvent, type PointerEvent, type ReactNode, useEffect, useRef, useState } from "react";
import { moved, share } from "../logic/sizes";
import { setSizes, sizes as store } from "../state/sizes";
import { useStore } from "../state/store";

/** `initial`: its part of the grid until somebody moves a border. */
export interface Pane { title: string; least: number; initial: string; content: ReactNode }

interface Props { name: string; across: boolean; panes: Pane[] }

const STEP = 16, STRIDE = 96;

export function Split({ name, across, panes }: Props) {
  const kept = useStore(store, (s) => s.sizes[name]);
  const root = useRef<HTMLDivElement>(null);
  const drag = useRef<{ at: number; from: number; sizes: number[] } | null>(null);
  const [drawn, setDrawn] = useState<number[]>([]);
  const least = panes.map((pane) => pane.least);
  const own = kept?.length === panes.length ? kept : null;

  const measure = () => [...root.current!.children].filter((child) => child.hasAttribute("data-pane"))
    .map((child) => child.getBoundingClientRect()[across ? "width" : "height"]);
  useEffect(() => {
    const observer = new ResizeObserver(() => setDrawn(measure()));
    for (const child of root.current!.querySelectorAll(":scope > [data-pane]")) observer.observe(child);
    return () => observer.disconnect();
  }, [panes.length, across]); // eslint-disable-line react-hooks/exhaustive-deps

  const place = (event: PointerEvent) => (across ? event.clientX : event.clientY);
  const begin = (at: number) => (event: PointerEvent<HTMLDivElement>) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    drag.current = { at, from: place(event), sizes: measure() };
  };
  const pull = (event: PointerEvent) => {
    const now = drag.current;
    if (now && place(event) !== now.from) setSizes(name, moved(now.sizes, now.at, place(event) - now.from, least));
  };
  const end = () => { drag.current = null; };
  const onKeyDown = (at: number) => (event: KeyboardEvent) => {
    const by = event.shiftKey ? STRIDE : STEP;
    const step = { [across ? "ArrowLeft" : "ArrowUp"]: -by, [across ? "ArrowRight" : "ArrowDown"]: by, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined && event.key !== "Enter") return;
    event.preventDefault();
    setSizes(name, step === undefined ? null : moved(measure(), at, step, least));
  };

  const template = panes.map((pane, i) => (own ? `minmax(${pane.least}px, ${own[i]}fr)` : pane.initial)).join(" var(--s2) ");
  return (
    <div ref={root} className={`split ${across ? "across" : "down"}`} data-split={name} style={{ [across ? "gridTemplateColumns" : "gridTemplateRows"]: template }}>
      {panes.flatMap((pane, i) => {
        const { now, min, max } = share(drawn, i - 1, least);
        return [
          i > 0 && (
            <div key={`border ${pane.title}`} role="separator" tabIndex={0} className="split-border" data-testid={`resize-${name}-${i - 1}`}
              aria-orientation={across ? "vertical" : "horizontal"} aria-label={`Between ${panes[i - 1]!.title} and ${pane.title}`}
              aria-valuenow={now} aria-valuemin={min} aria-valuemax={max} title="Drag, or use the arrow keys; double-click or Enter resets"
              onPointerDown={begin(i - 1)} onPointerMove={pull} onPointerUp={end} onPointerCancel={end} onLostPointerCapture={end}
              onDoubleClick={() => setSizes(name, null)} onKeyDown={onKeyDown(i - 1)} />
          ),
          <div key={pane.title} className="pane" data-pane="">{pane.content}</div>,
        ];
      })}
    </div>
  );
}
