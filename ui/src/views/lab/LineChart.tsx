// Lines over one axis, drawn as plain SVG: each has a colour, a dash and its name, so that none is told by colour alone.
import { linear, logarithmic, range } from "../../logic/chart";
import { number } from "../../logic/format";
import { useWidth } from "./useWidth";

export type Look = "main" | "second" | "third" | "fourth" | "plain";
export interface Line { name: string; look: Look; points: [number, number][]; band?: [number, number, number][] }
export interface Mark { x: number; y: number; kind: "filled" | "hollow" | "chosen"; title: string }

interface Props {
  name: string; x: string; y: string; lines: Line[]; marks?: Mark[]; log?: boolean; height?: number;
  /** The vertical axis is logarithmic; all values are above 0. */
  logUp?: boolean;
  /** Values that the vertical axis always holds. */
  always?: number[];
  /** Values beyond are drawn at the edge. */
  within?: [number, number];
  /** A level with a meaning, and its words. */
  level?: { at: number; text: string };
  /** A place on the horizontal axis that is looked at. */
  at?: number | null;
  testid?: string;
}

const LEFT = 46, RIGHT = 14, TOP = 12, BOTTOM = 36;

export function LineChart({ name, x, y, lines, marks = [], log = false, logUp = false, height = 210, always = [], within, level, at, testid }: Props) {
  const [box, width] = useWidth<HTMLElement>();
  const held = (value: number) => (within ? Math.min(within[1], Math.max(within[0], value)) : value);
  const xs = [...lines.flatMap((line) => line.points.map((point) => point[0])), ...marks.map((mark) => mark.x)];
  const ys = [...lines.flatMap((line) => [...line.points.map((point) => point[1]), ...(line.band ?? []).flatMap((part) => [part[1], part[2]])]), ...marks.map((mark) => mark.y)].map(held);
  const [low, high] = [Math.min(...xs), Math.max(...xs)];
  const across = log ? logarithmic([low, high], [LEFT, width - RIGHT]) : linear([low, high], [LEFT, width - RIGHT], width < 420 ? 4 : 8);
  const up = logUp ? logarithmic([Math.min(...ys), Math.max(...ys)], [height - BOTTOM, TOP]) : linear(range(ys, [...always, ...(level ? [level.at] : [])]), [height - BOTTOM, TOP], 4);
  const path = (points: [number, number][]) => points.map(([a, b], i) => `${i === 0 ? "M" : "L"}${across(a).toFixed(1)} ${up(held(b)).toFixed(1)}`).join("");
  const band = (parts: [number, number, number][]) => `${path(parts.map(([a, , c]) => [a, c]))}${path([...parts].reverse().map(([a, b]) => [a, b])).replace("M", "L")}Z`;
  if (xs.length === 0) return null;
  return (
    <figure className="chart" ref={box} data-testid={testid}>
      <figcaption>
        <span className="axis-name">{y}</span>
        {lines.length > 1 && <span className="legend">{lines.map((line) => <span key={line.name} className={`line ${line.look}`}><svg width="22" height="8" aria-hidden="true"><path className="stroke" d="M0 4H22" /></svg>{line.name}</span>)}</span>}
      </figcaption>
      <svg width={width} height={height} viewBox={`0 0 ${width} ${height}`} role="img" aria-label={name}>
        {up.ticks.map((tick) => <g key={tick} className="tick"><line x1={LEFT} x2={width - RIGHT} y1={up(tick)} y2={up(tick)} className={tick === 0 ? "zero" : ""} /><text x={LEFT - 6} y={up(tick) + 4} textAnchor="end">{logUp && tick >= 1000 ? `${number(tick / 1000)}k` : number(tick)}</text></g>)}
        {across.ticks.map((tick) => <text key={tick} className="tick" x={across(tick)} y={height - BOTTOM + 15} textAnchor="middle">{log && tick >= 1000 ? `${number(tick / 1000)}k` : number(tick)}</text>)}
        <text className="axis" x={(LEFT + width - RIGHT) / 2} y={height - 4} textAnchor="middle">{x}</text>
        {level && <g className="level"><line x1={LEFT} x2={width - RIGHT} y1={up(level.at)} y2={up(level.at)} /><text x={LEFT + 4} y={up(level.at) - 4}>{level.text}</text></g>}
        {at != null && <line className="here" x1={across(at)} x2={across(at)} y1={TOP} y2={height - BOTTOM} />}
        {lines.map((line) => (
          <g key={line.name} className={`line ${line.look}`}>
            {line.band && <path className="band" d={band(line.band)} />}
            <path className="stroke" d={path(line.points)} />
            {line.points.length < 60 && line.points.map(([a, b]) => <circle key={a} cx={across(a)} cy={up(held(b))} r="2.5"><title>{`${line.name}: ${number(b)} at ${x} ${number(a)}`}</title></circle>)}
          </g>
        ))}
        {marks.map((mark) => <circle key={`${mark.x} ${mark.title}`} className={`mark ${mark.kind}`} cx={across(mark.x)} cy={up(held(mark.y))} r={mark.kind === "chosen" ? 7 : 4}><title>{mark.title}</title></circle>)}
      </svg>
    </figure>
  );
}
