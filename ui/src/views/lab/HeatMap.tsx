// A heat map, and beside it the same places with a control in them: one scale, one place looked at in both. A sign is told by
// colour and by a dash or the number's own sign.
import { useId, useState } from "react";
import { number, two } from "../../logic/format";
import { useWidth } from "./useWidth";

export interface Column { label: string; title?: string }
/** Rows from below; a value that is null is no place at all. */
export interface Picture { title: string; value: (row: number, column: number) => number | null }

interface Props {
  name: string; rows: string[]; columns: Column[]; pictures: Picture[];
  /** What stands beside the rows and below the columns. */
  across: string; up: string;
  /** The value that is drawn with full strength; larger ones are not told apart. */
  most: number;
  /** Whether values below 0 mean something. */
  both?: boolean;
  /** The words of the place that is looked at. */
  words: (row: number, column: number) => React.ReactNode;
  /** Where to look first. */
  first: [number, number];
  testid?: string;
}

const LEFT = 44, FOOT = 4, GAP = 24;

export function HeatMap({ name, rows, columns, pictures, across, up, most, both = false, words, first, testid }: Props) {
  const [box, width] = useWidth<HTMLDivElement>(760);
  const [at, setAt] = useState(first);
  const row = Math.min(at[0], rows.length - 1), column = Math.min(at[1], columns.length - 1);
  // labels that are turned lean over the last column
  const beside = LEFT + 4 + Math.max(...columns.map((one) => Math.min(14, one.label.length))) * 4;
  const share = (width - GAP * (pictures.length - 1)) / pictures.length - 1;
  const room = (share >= beside + columns.length * 16 ? share : width) - beside;
  const wide = Math.max(13, Math.min(54, room / columns.length)), high = rows.length > 40 ? 12 : rows.length > 14 ? 15 : 20;
  const move = (event: React.KeyboardEvent) => {
    const by = ({ ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0], Home: [0, -columns.length], End: [0, columns.length] } as Record<string, [number, number]>)[event.key];
    if (!by) return;
    event.preventDefault();
    setAt([Math.max(0, Math.min(rows.length - 1, row + by[0])), Math.max(0, Math.min(columns.length - 1, column + by[1]))]);
  };
  return (
    <div ref={box} className="heat-map" data-testid={testid}>
      <p className="lab-edge-words" aria-live="polite" data-testid={testid && `${testid}-words`}>{words(row, column)}</p>
      <div className="heat-pictures" tabIndex={0} role="group" aria-label={`${name}; arrow keys go from place to place`} onKeyDown={move}>
        {pictures.map((picture) => (
          <figure key={picture.title} className="heat-picture">
            <figcaption>{picture.title}</figcaption>
            <div className="lab-scroll"><Cells {...{ picture, rows, columns, wide, high, most, row, column }} name={`${name}: ${picture.title}`} onPoint={setAt} /></div>
          </figure>
        ))}
      </div>
      <p className="faint heat-legend"><span>{up}, across: {across}.</span> <Legend most={most} both={both} /></p>
    </div>
  );
}

interface CellsProps { picture: Picture; name: string; rows: string[]; columns: Column[]; wide: number; high: number; most: number; row: number; column: number; onPoint: (at: [number, number]) => void }

function Cells({ picture, name, rows, columns, wide, high, most, row, column, onPoint }: CellsProps) {
  const longest = Math.max(...columns.map((one) => Math.min(14, one.label.length)));
  const turned = longest * 6.7 > wide - 2, head = turned ? 14 + longest * 5.6 : 18;
  const height = head + rows.length * high + FOOT, across = LEFT + columns.length * wide + 4 + (turned ? longest * 4 : 0);
  const y = (r: number) => head + (rows.length - 1 - r) * high;
  const every = rows.length > 20 ? 5 : 1;
  return (
    <svg width={across} height={height} role="img" aria-label={name} className="heat-cells">
      {columns.map((one, c) => (
        <text key={c} className={`head${c === column ? " is-chosen" : ""}`} textAnchor={turned ? "start" : "middle"} transform={`translate(${LEFT + (c + 0.5) * wide + (turned ? 3 : 0)} ${head - 6})${turned ? " rotate(-55)" : ""}`}>{one.label.slice(0, 14)}<title>{one.title ?? one.label}</title></text>
      ))}
      {rows.map((label, r) => (
        <g key={r}>
          {(r % every === 0 || r === row) && <text x={LEFT - 6} y={y(r) + high - 4} textAnchor="end" className={r === row ? "is-chosen" : Math.abs(r - row) < 2 && every > 1 ? "is-hidden" : ""}>{label}</text>}
          {columns.map((_, c) => {
            const value = picture.value(r, c);
            if (value === null) return null;
            const strength = Math.min(1, Math.abs(value) / most), x = LEFT + c * wide;
            return (
              <g key={c} onMouseEnter={() => onPoint([r, c])} onClick={() => onPoint([r, c])}>
                <rect x={x} y={y(r)} width={wide - 1} height={high - 1} className="ground" />
                <rect x={x} y={y(r)} width={wide - 1} height={high - 1} className={value < 0 ? "minus" : "plus"} style={{ fillOpacity: strength }} />
                {wide >= 40 ? <text x={x + wide / 2} y={y(r) + high / 2 + 3.5} textAnchor="middle" className={`inside${strength > 0.5 ? " is-strong" : ""}`}>{inside(value, most)}</text>
                  : value < 0 && strength > 0.2 && <line x1={x + wide / 2 - 3} x2={x + wide / 2 + 2} y1={y(r) + high / 2} y2={y(r) + high / 2} className={`dash${strength > 0.5 ? " is-strong" : ""}`} />}
              </g>
            );
          })}
        </g>
      ))}
      <rect x={LEFT + column * wide - 1} y={y(row) - 1} width={wide + 1} height={high + 1} className="frame" />
    </svg>
  );
}

/** A number that fits into a cell; what rounds to nothing is 0. */
function inside(value: number, most: number): string {
  if (most > 1.5) return Math.abs(value) < 0.05 ? "0" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  return Math.abs(value) < 0.005 ? "0" : two(value).replace(/^(−?)0\./, "$1.");
}

function Legend({ most, both }: { most: number; both: boolean }) {
  const id = useId();
  return (
    <svg className="heat-scale" width={both ? 206 : 130} height="14" role="img" aria-label={`The scale: ${both ? `from ${number(-most)} over 0 to` : "from 0 to"} ${number(most)}`}>
      <defs>
        <linearGradient id={`${id}p`}><stop offset="0" className="stop-plus" stopOpacity="0" /><stop offset="1" className="stop-plus" /></linearGradient>
        <linearGradient id={`${id}m`}><stop offset="0" className="stop-minus" /><stop offset="1" className="stop-minus" stopOpacity="0" /></linearGradient>
      </defs>
      {both && <><text x="0" y="11">{number(-most)}</text><rect x="42" y="2" width="50" height="10" fill={`url(#${id}m)`} /></>}
      <text x={both ? 97 : 0} y="11">0</text><rect x={both ? 108 : 12} y="2" width="60" height="10" fill={`url(#${id}p)`} /><text x={both ? 172 : 76} y="11">{number(most)}</text>
    </svg>
  );
}

/** The place with the largest value by size. */
export function foremost(rows: number, columns: number, value: (row: number, column: number) => number | null): [number, number] {
  let best: [number, number] = [0, 0], most = -1;
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) {
    const size = Math.abs(value(r, c) ?? -1);
    if (value(r, c) !== null && size > most) { most = size; best = [r, c]; }
  }
  return best;
}
