// The gate: the verdict in a sentence, its interval, and a bar for each item.
import { useState } from "react";
import type { BehaviourReport, Interval } from "../../api/labtypes";
import { range, linear } from "../../logic/chart";
import { count, number, signed, two } from "../../logic/format";
import { useWidth } from "./useWidth";

export function Gate({ report, stops }: { report: BehaviourReport; stops: boolean }) {
  const { gate } = report;
  const sentence = `${report.sentence[0]!.toUpperCase()}${report.sentence.slice(1)}.`;
  return (
    <section className={`lab-card lab-gate ${gate.shown ? "shows" : "shows-not"}`} aria-labelledby="lab-gate-title" data-testid="lab-gate" data-shown={gate.shown}>
      <h2 id="lab-gate-title">The gate</h2>
      <p className="lab-sentence"><strong aria-hidden="true">{gate.shown ? "✓" : "✗"}</strong> {sentence}</p>
      {!gate.shown && stops && <p data-testid="lab-gate-no">Nothing is explained that is not there: the method was not run.</p>}
      <Share interval={gate.accuracy} chance={gate.chance} />
      <p className="faint">Mean log-odds of right against wrong {signed(gate.log_odds.value)} ({signed(gate.log_odds.low)} to {signed(gate.log_odds.high)}).{gate.left_out > 0 && ` ${count(gate.left_out, "drawn item")} did not fit this tokenizer.`}</p>
      <Items report={report} />
    </section>
  );
}

/** A share of all with its interval, and where guessing stands. */
export function Share({ interval, chance, plain = false }: { interval: Interval; chance?: number; plain?: boolean }) {
  const [box, width] = useWidth<HTMLDivElement>(400);
  const at = linear([0, 1], [6, width - 6]);
  return (
    <div ref={box} className="lab-share">
      <svg width={width} height={plain ? 20 : 34} role="img" aria-label={`${plain ? "" : "Accuracy "}${two(interval.value)}, interval ${two(interval.low)} to ${two(interval.high)}${chance === undefined ? "" : `, chance ${two(chance)}`}`}>
        <rect x={at(0)} y="6" width={at(1) - at(0)} height="8" rx="4" className="track" />
        {chance !== undefined && <line x1={at(chance)} x2={at(chance)} y1="2" y2="18" className="chance" />}
        <line x1={at(interval.low)} x2={at(interval.high)} y1="10" y2="10" className="whisker" />
        <circle cx={at(interval.value)} cy="10" r="5" className="value" />
        {chance !== undefined && <text x={at(chance)} y="31" textAnchor="middle">chance</text>}{!plain && <><text x={at(0)} y="31">0</text><text x={at(1)} y="31" textAnchor="end">1</text></>}
      </svg>
    </div>
  );
}

function Items({ report }: { report: BehaviourReport }) {
  const [box, width] = useWidth<HTMLDivElement>();
  const items = [...report.items].sort((a, b) => a.log_odds - b.log_odds);
  const [chosen, setChosen] = useState(0);
  const one = items[Math.min(chosen, items.length - 1)];
  const height = 110, step = Math.min(30, (width - 42) / items.length);
  const up = linear(range(items.map((item) => item.log_odds), [0]), [height - 6, 6], 3);
  const move = (event: React.KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -items.length, End: items.length }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    setChosen(Math.max(0, Math.min(items.length - 1, chosen + by)));
  };
  const under = (event: React.MouseEvent<SVGSVGElement>) => {
    const x = event.clientX - event.currentTarget.getBoundingClientRect().left - 40;
    setChosen(Math.max(0, Math.min(items.length - 1, Math.floor(x / step))));
  };
  const words = (list: string[]) => list.map((word) => `“${word.trim()}”`).join(" ");
  return (
    <div ref={box} className="lab-items" data-testid="lab-items-chart">
      <h3 id="lab-items-title">Each item, the worst first</h3>
      <div role="slider" tabIndex={0} aria-labelledby="lab-items-title" aria-valuemin={1} aria-valuemax={items.length} aria-valuenow={chosen + 1}
        aria-valuetext={one ? `${one.prompt}, log-odds ${signed(one.log_odds)}` : ""} onKeyDown={move}>
        <svg width={width} height={height} onMouseMove={under} onClick={under} aria-hidden="true" className="bars">
          {up.ticks.map((tick) => <g key={tick} className="tick"><line x1="40" x2={width} y1={up(tick)} y2={up(tick)} className={tick === 0 ? "zero" : ""} /><text x="34" y={up(tick) + 4} textAnchor="end">{number(tick)}</text></g>)}
          {items.map((item, i) => <rect key={i} x={40 + i * step} width={Math.max(1, step - (step > 4 ? 1.5 : 0.5))} y={Math.min(up(0), up(item.log_odds))} height={Math.max(1, Math.abs(up(item.log_odds) - up(0)))} className={`${item.log_odds > 0 ? "right" : "wrong"}${i === chosen ? " is-chosen" : ""}`} />)}
        </svg>
      </div>
      {one && <p className="lab-item"><span className="num">{signed(one.log_odds)}</span> “{one.prompt}” <span className="faint">right {words(one.right)}, wrong {words(one.wrong)}{one.class ? `, class ${one.class}` : ""}</span></p>}
    </div>
  );
}
