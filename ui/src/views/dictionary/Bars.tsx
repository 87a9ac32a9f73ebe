// A histogram as plain SVG, with a second one drawn over it as a line. A bar that is clicked is a choice.
import { linear } from "../../logic/chart";
import type { Bar } from "../../logic/latents";
import { useWidth } from "../lab/useWidth";

interface Props {
  name: string; bars: Bar[]; over?: Bar[];
  /** Places on the horizontal axis, and their words. */
  ticks: number[]; tick: (value: number) => string;
  words: (bar: Bar) => string;
  onPick?: (bar: Bar) => void;
  testid?: string;
}

const LEFT = 40, RIGHT = 16, TOP = 8, BOTTOM = 22, HEIGHT = 132;

export function Bars({ name, bars, over = [], ticks, tick, words, onPick, testid }: Props) {
  const [box, width] = useWidth<HTMLDivElement>(440);
  const all = [...bars, ...over];
  const low = Math.min(...all.map((bar) => bar.low), ...ticks), high = Math.max(...all.map((bar) => bar.high), ...ticks);
  // the bars fill the height; what is drawn over them may leave it, and then says how far it goes
  const own = Math.max(1, ...bars.map((bar) => bar.count)), peak = over.reduce<Bar | null>((best, bar) => (bar.count > (best?.count ?? own * 1.15) ? bar : best), null);
  const most = peak ? own * 1.15 : Math.max(own, ...over.map((bar) => bar.count));
  const level = (count: number) => Math.max(TOP - 4, y(count));
  const x = linear([low, high], [LEFT, width - RIGHT]), y = linear([0, most], [HEIGHT - BOTTOM, TOP], 3);
  const outline = over.map((bar) => `L${x(bar.low).toFixed(1)} ${level(bar.count).toFixed(1)}L${x(bar.high).toFixed(1)} ${level(bar.count).toFixed(1)}`).join("");
  return (
    <div ref={box} className="bars" data-testid={testid}>
      <svg width={width} height={HEIGHT} role="img" aria-label={name}>
        {y.ticks.map((at) => <g key={at} className="bars-line"><line x1={LEFT} x2={width - RIGHT} y1={y(at)} y2={y(at)} /><text x={LEFT - 5} y={y(at) + 3.5} textAnchor="end">{at.toLocaleString("en-GB")}</text></g>)}
        {bars.map((bar) => (
          <g key={bar.low} className={onPick ? "bars-pick" : undefined} onClick={onPick && (() => onPick(bar))}>
            <rect className="bars-bar" x={x(bar.low) + 0.5} width={Math.max(1, x(bar.high) - x(bar.low) - 1)} y={y(bar.count)} height={y(0) - y(bar.count)} />
            <rect className="bars-room" x={x(bar.low)} width={x(bar.high) - x(bar.low)} y={TOP} height={HEIGHT - BOTTOM - TOP}><title>{words(bar)}</title></rect>
          </g>
        ))}
        {over.length > 0 && <path className="bars-over" d={`M${x(over[0]!.low).toFixed(1)} ${y(0).toFixed(1)}${outline}L${x(over.at(-1)!.high).toFixed(1)} ${y(0).toFixed(1)}`} />}
        {peak && <text className="bars-peak" x={x(Math.max(...over.filter((bar) => bar.count > most).map((bar) => bar.high))) + 6} y={TOP + 8}>↑ {peak.count.toLocaleString("en-GB")}</text>}
        {ticks.map((at) => <text key={at} className="bars-tick" x={x(at)} y={HEIGHT - 6} textAnchor="middle">{tick(at)}</text>)}
      </svg>
    </div>
  );
}
