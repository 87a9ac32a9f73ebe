// A frame of the map. Points are drawn shade by shade, so that a hundred thousand take a few changes of colour.
import type { LatentMap } from "../../api/dictionary";
import { SHADES, type Shading } from "../../logic/latents";
import type { Sight } from "../../state/dictionary";

export const SIDE = 65_535;

export interface Frame {
  width: number; height: number; map: LatentMap; shading: Shading; marked: Uint8Array | null; sight: Sight;
  latent: number | null; line: [number, number][] | null; ramp: string[]; dark: boolean;
}

/** Latents by shade, those without one first: made once for a shading. */
const groups = new WeakMap<Int8Array, Uint32Array[]>();
function grouped(shades: Int8Array): Uint32Array[] {
  const kept = groups.get(shades);
  if (kept) return kept;
  const lists: number[][] = Array.from({ length: SHADES + 1 }, () => []);
  shades.forEach((shade, i) => lists[shade + 1]!.push(i));
  const made = lists.map((list) => Uint32Array.from(list));
  groups.set(shades, made);
  return made;
}

/** Wide where there are few points or one is near them. */
function radius(count: number, near: number): number {
  const base = count > 50_000 ? 0.6 : count > 12_000 ? 0.85 : count > 3_000 ? 1.15 : 2;
  return Math.min(6, base * Math.max(1, near) ** 0.55);
}

export function draw(canvas: HTMLCanvasElement, frame: Frame): void {
  const { width, height, map, shading, marked, sight, latent, line, ramp, dark } = frame;
  const density = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * density), Math.round(height * density)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const on = canvas.getContext("2d");
  if (!on) return;
  on.setTransform(density, 0, 0, density, 0, 0);
  on.clearRect(0, 0, width, height);
  const whole = Math.min(width, height), r = radius(map.x.length, sight.scale / whole);
  const lacking = dark ? "#5c5f68" : "#b9bac2";
  const points = (list: Uint32Array, size: number, take: (i: number) => boolean) => {
    const round = size >= 1.8;
    on.beginPath();
    for (const i of list) {
      if (!take(i)) continue;
      const x = sight.x + (map.x[i]! / SIDE) * sight.scale, y = sight.y + (1 - map.y[i]! / SIDE) * sight.scale;
      if (x < -size || x > width + size || y < -size || y > height + size) continue;
      if (!round) on.fillRect(x - size, y - size, 2 * size, 2 * size);
      else { on.moveTo(x + size, y); on.arc(x, y, size, 0, 2 * Math.PI); }
    }
    if (round) on.fill();
  };
  const all = grouped(shading.shades);
  if (marked) {
    // the others stay as a ground to tell places by
    on.globalAlpha = dark ? 0.35 : 0.5;
    on.fillStyle = lacking;
    for (const list of all) points(list, r * 0.9, (i) => !marked[i]);
    on.globalAlpha = 1;
  }
  all.forEach((list, shade) => {
    on.fillStyle = shade === 0 ? lacking : ramp[shade - 1]!;
    points(list, marked ? Math.max(2, r * 1.5) : r, (i) => !marked || marked[i] === 1);
  });
  if (latent !== null && latent < map.x.length) ring(on, sight.x + (map.x[latent]! / SIDE) * sight.scale, sight.y + (1 - map.y[latent]! / SIDE) * sight.scale, r, dark);
  if (line && line.length > 1) {
    on.beginPath();
    line.forEach(([x, y], i) => (i === 0 ? on.moveTo(x, y) : on.lineTo(x, y)));
    on.closePath();
    on.fillStyle = dark ? "rgb(167 157 255 / 15%)" : "rgb(74 63 207 / 10%)";
    on.fill();
    on.setLineDash([4, 3]);
    on.lineWidth = 1.5;
    on.strokeStyle = dark ? "#a79dff" : "#4a3fcf";
    on.stroke();
    on.setLineDash([]);
  }
}

function ring(on: CanvasRenderingContext2D, x: number, y: number, r: number, dark: boolean): void {
  on.beginPath();
  on.arc(x, y, Math.max(6, r + 4), 0, 2 * Math.PI);
  on.lineWidth = 2;
  on.strokeStyle = dark ? "#ececea" : "#1b1c20";
  on.stroke();
}
