// Every latent a point on a canvas: moved by dragging, zoomed by buttons, keys, a pinch or Ctrl and the wheel; a line drawn
// around points selects them. The list beside it says the same in rows.
import { type KeyboardEvent, type PointerEvent, useEffect, useMemo, useRef, useState } from "react";
import type { DictionaryReply, LatentMap as Places, LatentsReply } from "../../api/dictionary";
import { Icon } from "../../components/Icon";
import { IconButton } from "../../components/IconButton";
import { number, percent, two } from "../../logic/format";
import { inside, nearestTo, type Shading, valueOf } from "../../logic/latents";
import { unitAddress } from "../../logic/route";
import { dictionaryPage, pointing, type Sight, useDictionaryPage, useWords } from "../../state/dictionary";
import { useStore } from "../../state/store";
import { useWidth } from "../lab/useWidth";
import { draw, SIDE } from "./drawMap";
import { useDark, useRamp } from "./useRamp";

interface Props { of: DictionaryReply; made: string | null; data: LatentsReply | null; map: Places; shading: Shading; marked: Uint8Array | null; onSelect: (latents: number[]) => void }

const REACH = 12, NEAREST = 80, MARGIN = 14;
type Spot = [number, number];

export function LatentMap({ of, made, data, map, shading, marked, onSelect }: Props) {
  const [box, width] = useWidth<HTMLDivElement>(640);
  const height = Math.min(620, Math.max(300, Math.round(width * 0.82)));
  const canvas = useRef<HTMLCanvasElement>(null);
  const kept = useDictionaryPage((s) => s.sight), lasso = useDictionaryPage((s) => s.lasso);
  const latent = useStore(pointing, (s) => s.latent);
  const ramp = useRamp(), dark = useDark();
  const [line, setLine] = useState<Spot[] | null>(null);
  const [over, setOver] = useState(false);
  const whole = useMemo<Sight>(() => {
    const scale = Math.min(width, height) - 2 * MARGIN;
    return { scale, x: (width - scale) / 2, y: (height - scale) / 2 };
  }, [width, height]);
  const sight = kept ?? whole;
  // a frame at a time, however many moves come between
  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      if (canvas.current) draw(canvas.current, { width, height, map, shading, marked, sight, latent, line, ramp, dark });
    });
    return () => cancelAnimationFrame(frame);
  });
  const hands = useMapHands({ map, marked, sight, whole, lasso, width, height, line, setLine, onSelect, of, canvas });
  const at = latent === null ? null : place(map, sight, latent);
  const inSight = at !== null && at[0] >= 0 && at[0] <= width && at[1] >= 0 && at[1] <= height;
  const zoom = (by: number) => dictionaryPage.set({ sight: zoomed(sight, whole, by, width / 2, height / 2) });
  return (
    <div ref={box} className="latent-frame" style={{ height }}>
      <div className="latent-canvas" tabIndex={0} role="group" aria-label={`Map of ${of.latents.toLocaleString("en-GB")} latents. Arrow keys move it, plus and minus zoom, 0 shows all of it. The list has the same latents in rows.`} data-testid="dictionary-map" data-scale={(sight.scale / whole.scale).toFixed(2)} data-latent={latent ?? ""} onKeyDown={hands.key}>
        <canvas ref={canvas} role="img" aria-label={`${of.latents.toLocaleString("en-GB")} points`} style={{ width, height, touchAction: lasso ? "none" : "pan-y", cursor: lasso ? "crosshair" : over && latent !== null ? "pointer" : "grab" }}
          onPointerDown={hands.down} onPointerMove={(event) => { setOver(true); hands.move(event); }} onPointerUp={hands.up} onPointerCancel={hands.cancel} onPointerLeave={() => { setOver(false); hands.leave(); }} onDoubleClick={hands.double} />
      </div>
      <div className="latent-tools">
        <IconButton icon="plus" label="Nearer (+, or Ctrl and the wheel)" className="tiny" data-testid="dictionary-nearer" onClick={() => zoom(1.5)} />
        <button type="button" className="icon-button tiny" aria-label="Further (−)" title="Further (−)" data-testid="dictionary-further" onClick={() => zoom(1 / 1.5)}>−</button>
        <button type="button" className="button small quiet" data-testid="dictionary-whole" disabled={kept === null} onClick={() => dictionaryPage.set({ sight: null })}>whole</button>
        <button type="button" className="button small quiet lasso-button" aria-pressed={lasso} title="Draw around points to list them (or hold Shift)" data-testid="dictionary-lasso" onClick={() => dictionaryPage.set({ lasso: !lasso })}><Icon name="edit" size={13} />select</button>
      </div>
      {latent !== null && inSight && !line && <Card of={of} made={made} data={data} latent={latent} at={at} width={width} height={height} />}
    </div>
  );
}

const place = (map: Places, sight: Sight, latent: number): Spot => [sight.x + (map.x[latent]! / SIDE) * sight.scale, sight.y + (1 - map.y[latent]! / SIDE) * sight.scale];

/** Zoomed about a place that stays where it is. */
function zoomed(sight: Sight, whole: Sight, by: number, x: number, y: number): Sight {
  const scale = Math.min(whole.scale * NEAREST, Math.max(whole.scale * 0.7, sight.scale * by)), share = scale / sight.scale;
  return { scale, x: x - (x - sight.x) * share, y: y - (y - sight.y) * share };
}

interface Hands {
  map: Places; marked: Uint8Array | null; sight: Sight; whole: Sight; lasso: boolean; width: number; height: number;
  line: Spot[] | null; setLine: (line: Spot[] | null) => void; onSelect: (latents: number[]) => void; of: DictionaryReply;
  canvas: React.RefObject<HTMLCanvasElement | null>;
}

/** What a pointer, fingers, the wheel and keys do. */
function useMapHands({ map, marked, sight, whole, lasso, width, height, line, setLine, onSelect, of, canvas }: Hands) {
  const fingers = useRef(new Map<number, Spot>());
  const moved = useRef(false), touched = useRef<number | null>(null);
  const spot = (event: { clientX: number; clientY: number; currentTarget: EventTarget }): Spot => {
    const frame = (event.currentTarget as Element).getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const onMap = ([x, y]: Spot): Spot => [((x - sight.x) / sight.scale) * SIDE, (1 - (y - sight.y) / sight.scale) * SIDE];
  const under = (at: Spot) => {
    const reach = (REACH / sight.scale) * SIDE, [x, y] = onMap(at);
    // what is marked is meant first
    return (marked && nearestTo(x, y, reach, map.x, map.y, marked)) ?? nearestTo(x, y, reach, map.x, map.y);
  };
  const set = (next: Sight) => dictionaryPage.set({ sight: next });
  const down = (event: PointerEvent<HTMLCanvasElement>) => {
    if (event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    fingers.current.set(event.pointerId, spot(event));
    moved.current = false;
    if ((lasso || event.shiftKey) && fingers.current.size === 1) setLine([spot(event)]);
  };
  const move = (event: PointerEvent<HTMLCanvasElement>) => {
    const now = spot(event), before = fingers.current.get(event.pointerId);
    if (!before) {
      pointing.set({ latent: under(now) });
      return;
    }
    if (!moved.current && Math.hypot(now[0] - before[0], now[1] - before[1]) < 4) return;
    moved.current = true;
    if (line) {
      setLine([...line, now]);
      return;
    }
    const other = [...fingers.current].find(([id]) => id !== event.pointerId)?.[1];
    fingers.current.set(event.pointerId, now);
    const slid = { ...sight, x: sight.x + now[0] - before[0], y: sight.y + now[1] - before[1] };
    if (!other) set(slid);
    else set(zoomed(sight, whole, Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2));
  };
  const up = (event: PointerEvent<HTMLCanvasElement>) => {
    fingers.current.delete(event.pointerId);
    if (line) {
      setLine(null);
      if (moved.current) {
        onSelect(inside(line.map(onMap), map.x, map.y));
        return;
      }
    }
    if (moved.current || event.button !== 0) return;
    const latent = under(spot(event));
    // a finger cannot point before it presses: its first touch shows, its second opens
    const opens = latent !== null && (event.pointerType === "mouse" || touched.current === latent);
    touched.current = latent;
    pointing.set({ latent });
    if (opens) location.hash = unitAddress(`sae:${of.name}/${latent}`);
  };
  const cancel = (event: PointerEvent) => { fingers.current.delete(event.pointerId); setLine(null); };
  const leave = () => { if (fingers.current.size === 0 && touched.current === null) pointing.set({ latent: null }); };
  const double = (event: React.MouseEvent<HTMLCanvasElement>) => set(zoomed(sight, whole, 2, ...spot(event)));
  const key = (event: KeyboardEvent) => {
    const by = ({ ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] } as Record<string, Spot>)[event.key];
    if (by) set({ ...sight, x: sight.x + by[0], y: sight.y + by[1] });
    else if (event.key === "+" || event.key === "=") set(zoomed(sight, whole, 1.5, width / 2, height / 2));
    else if (event.key === "-") set(zoomed(sight, whole, 1 / 1.5, width / 2, height / 2));
    else if (event.key === "0") dictionaryPage.set({ sight: null });
    else if (event.key === "Escape" && line) setLine(null);
    else return;
    event.preventDefault();
  };
  const wheel = useRef<(event: WheelEvent) => void>(() => undefined);
  useEffect(() => {
    wheel.current = (event) => {
      // a page that is scrolled past must not zoom what lies under the pointer
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      set(zoomed(sight, whole, Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * 0.005), ...spot(event as WheelEvent & { currentTarget: EventTarget })));
    };
  });
  useEffect(() => {
    // React's own listener may not stop the browser's zoom
    const element = canvas.current, listen = (event: WheelEvent) => wheel.current(event);
    element?.addEventListener("wheel", listen, { passive: false });
    return () => element?.removeEventListener("wheel", listen);
  }, [canvas]);
  return { down, move, up, cancel, leave, double, key };
}

const CARD = 250;

function Card({ of, made, data, latent, at, width, height }: { of: DictionaryReply; made: string | null; data: LatentsReply | null; latent: number; at: Spot; width: number; height: number }) {
  const { words } = useWords(of.name, made, useMemo(() => [latent], [latent]));
  const said = words(latent), left = Math.max(4, Math.min(width - CARD - 4, at[0] + 14 + CARD > width ? at[0] - CARD - 14 : at[0] + 14));
  const below = at[1] < height / 2;
  return (
    <div className="latent-card" data-testid="dictionary-card-over" style={{ width: CARD, left, ...(below ? { top: at[1] + 12 } : { bottom: height - at[1] + 12 }) }}>
      <p><code>{of.name}/{latent}</code></p>
      <p className="latent-card-words">{said === undefined ? "…" : said ? said.text : <span className="no-words">no description</span>}</p>
      {data && <p className="faint num">r {two(valueOf(data, "score", latent))} · active {percent(valueOf(data, "density", latent))} · max {number(valueOf(data, "most", latent))}</p>}
    </div>
  );
}
