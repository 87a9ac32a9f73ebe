// Directions: every layer's scores with what the published rule lets pass, what the chosen one does, and a text along it.
import type { Candidate, DirectionOutcome, DirectionReply, DirectionReport, Interval } from "../../api/labtypes";
import { linear, range } from "../../logic/chart";
import { number, signed, two } from "../../logic/format";
import { Along } from "./Along";
import { LineChart, type Look, type Mark } from "./LineChart";

/** The largest divergence that the rule lets pass, nats. */
const MOST_KL = 0.1;
const LOOKS: Look[] = ["main", "second", "third", "fourth"];

const passes = (one: Candidate, layers: number) => one.layer < Math.floor((layers * 4) / 5) && one.kl <= MOST_KL && one.steering >= 0;

export function DirectionResult({ reply }: { reply: DirectionReply }) {
  const report = reply.report!;
  const { tested } = report;
  const [to, from] = report.classes;
  return (
    <>
      <Candidates report={report} />
      <section className="lab-card" aria-labelledby="lab-outcomes-title" data-testid="lab-outcomes">
        <h2 id="lab-outcomes-title">What the direction of layer {tested.layer}{tested.position !== -1 && `, position ${tested.position},`} does</h2>
        <p className="faint">On {report.tested_on} items of other groups. It leads from <b>{from}</b> to <b>{to}</b> and is {number(tested.length)} long. Before: accuracy {two(tested.before.value)}, log-odds {signed(tested.log_odds_before.value)}. Adding (towards the other class) and ablating should both lower the log-odds; “wrong way” is the share of items where they rise. The random direction is as long.</p>
        <Outcomes outcomes={tested.outcomes} off={report.off_task.behaviour} />
      </section>
      {reply.vector && <Along vector={reply.vector} layer={tested.layer} to={to ?? ""} from={from ?? ""} />}
    </>
  );
}

function Candidates({ report }: { report: DirectionReport }) {
  const { candidates, tested } = report;
  const layers = Math.max(...candidates.map((one) => one.layer)) + 1;
  const positions = [...new Set(candidates.map((one) => one.position))].sort((a, b) => b - a);
  const chosen = (one: Candidate) => one.layer === tested.layer && one.position === tested.position;
  const passing = candidates.filter((one) => passes(one, layers)).length;
  const chart = (field: "ablation" | "steering" | "kl", y: string, level?: { at: number; text: string }) => (
    <LineChart name={`${y}, by layer`} x="layer" y={y} height={180} always={[0]} level={level} testid={`lab-candidates-${field}`}
      lines={positions.map((position, i) => ({ name: `position ${position}`, look: LOOKS[i % 4]!, points: candidates.filter((one) => one.position === position).map((one): [number, number] => [one.layer, one[field]]) }))}
      marks={candidates.filter((one) => passes(one, layers) || chosen(one)).flatMap((one): Mark[] => {
        const mark = (kind: Mark["kind"]): Mark => ({ x: one.layer, y: one[field], kind, title: `layer ${one.layer}, position ${one.position}: ${number(one[field])}${passes(one, layers) ? ", passes the rule" : ""}${chosen(one) ? ", tested" : ""}` });
        return [...(passes(one, layers) ? [mark("filled")] : []), ...(chosen(one) ? [mark("chosen")] : [])];
      })} />
  );
  return (
    <section className="lab-card" aria-labelledby="lab-candidates-title" data-testid="lab-candidates">
      <h2 id="lab-candidates-title">Directions by layer</h2>
      <p className="faint">Found on {report.fitted_on} items, scored on {report.chosen_on} others. The published rule (Arditi et al. 2024) lets pass what lies in the first four fifths of the layers, moves {report.off_task.behaviour} by at most {MOST_KL} nats and brings the other answer about when added; of those it takes the one whose ablation leaves least.</p>
      <p className="marks-legend"><span className="mark-sample filled" aria-hidden="true" /> passes the rule ({passing} of {candidates.length}) <span className="mark-sample chosen" aria-hidden="true" /> tested (layer {tested.layer})</p>
      {!report.rule_passed && <p className="warn-text" data-testid="lab-no-rule">No direction passes the rule. What is tested below is the one that leaves least when ablated, or the layer that was asked for.</p>}
      <div className="lab-triple">
        {chart("ablation", "left when ablated (log-odds of right)")}
        {chart("steering", "other answer when added (its log-odds)")}
        {chart("kl", `off-task KL when ablated (nats, ${report.off_task.behaviour})`, { at: MOST_KL, text: "the rule’s limit" })}
      </div>
    </section>
  );
}

const WHAT = { add: "add", affine: "ablate, affine", raw: "ablate, raw" } as const;
const title = (of: Interval) => `95% interval ${two(of.low)} to ${two(of.high)}, ${of.n} items`;

function Outcomes({ outcomes, off }: { outcomes: DirectionOutcome[]; off: string }) {
  const ends = range(outcomes.flatMap((one) => one.changes), [0]);
  return (
    <div className="lab-scroll" tabIndex={0} role="group" aria-labelledby="lab-outcomes-title">
      <table className="lab-table lab-outcomes">
        <thead><tr><th scope="col">what</th><th scope="col">direction</th><th scope="col" className="num">accuracy</th><th scope="col" className="num">change</th><th scope="col">each item’s change of the log-odds</th><th scope="col" className="num">wrong way</th><th scope="col" className="num">{off}: KL</th><th scope="col" className="num">loss</th></tr></thead>
        <tbody>
          {outcomes.map((one) => (
            <tr key={`${one.kind} ${one.random}`} className={one.random ? "is-random" : ""}>
              <th scope="row">{WHAT[one.kind]}</th><td>{one.random ? "random" : "found"}</td>
              <td className="num" title={title(one.accuracy)}>{two(one.accuracy.value)} <span className="faint">({two(one.accuracy.low)} to {two(one.accuracy.high)})</span></td>
              <td className="num" title={title(one.change)}>{signed(one.change.value)}</td>
              <td><Strip changes={one.changes} ends={ends} mean={one.change.value} random={one.random} /></td>
              <td className="num" title={title(one.wrong_way)}>{two(one.wrong_way.value)}</td><td className="num">{number(one.off_task_kl.value)}</td><td className="num">{signed(one.off_task_loss.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const STRIP = 240;

/** A dot for each item; all strips share one axis. */
function Strip({ changes, ends, mean, random }: { changes: number[]; ends: [number, number]; mean: number; random: boolean }) {
  const at = linear(ends, [4, STRIP - 4]);
  return (
    <svg className={`lab-strip${random ? " is-random" : ""}`} width={STRIP} height="26" viewBox={`0 0 ${STRIP} 26`} role="img" aria-label={`${changes.length} items, from ${signed(Math.min(...changes))} to ${signed(Math.max(...changes))}`}>
      <line x1="0" x2={STRIP} y1="13" y2="13" className="track" /><line x1={at(0)} x2={at(0)} y1="0" y2="26" className="zero" />
      {/* dots at three heights, so that equal ones are seen side by side */}
      {changes.map((change, i) => <circle key={i} cx={at(change)} cy={7 + (i % 3) * 6} r="2.6" className={change > 0 ? "up" : "down"}><title>{signed(change)}</title></circle>)}
      <line x1={at(mean)} x2={at(mean)} y1="3" y2="23" className="mean" />
    </svg>
  );
}
