// Function vectors: the gate (do examples help?), the heads whose means make the vector, where it is added, and its controls.
import type { FunctionReport, Interval, TaskGate } from "../../api/labtypes";
import { count, number, signed, two } from "../../logic/format";
import { Share } from "./Gate";
import { foremost, HeatMap } from "./HeatMap";
import { type Line, LineChart, type Look } from "./LineChart";

export function TaskGateCard({ gate }: { gate: TaskGate }) {
  const sentence = `${gate.sentence[0]!.toUpperCase()}${gate.sentence.slice(1)}.`;
  return (
    <section className={`lab-card lab-gate ${gate.learns ? "shows" : "shows-not"}`} aria-labelledby="lab-gate-title" data-testid="lab-gate" data-shown={gate.learns}>
      <h2 id="lab-gate-title">The gate</h2>
      <p className="lab-sentence"><strong aria-hidden="true">{gate.learns ? "✓" : "✗"}</strong> {sentence}</p>
      {!gate.learns && <p data-testid="lab-gate-no">Nothing is explained that is not there: no vector was looked for.</p>}
      <Shares rows={[[`behind ${count(gate.shots, "example")}`, gate.with_examples], ["behind shuffled examples", gate.with_shuffled], ["bare", gate.bare]]} />
      <p className="faint">Share of {count(gate.asked, "held-out question")} whose likeliest next token is the answer; {gate.shown} other pairs serve as examples.{gate.left_out > 0 && ` ${count(gate.left_out, "pair")} whose answer is more than one token left out.`}</p>
    </section>
  );
}

function Shares({ rows }: { rows: [string, Interval, string?][] }) {
  return (
    <table className="lab-table lab-shares">
      <tbody>{rows.map(([name, of, look]) => <tr key={name} className={look}><th scope="row">{name}</th><td className="num">{two(of.value)}</td><td className="num faint">{two(of.low)} to {two(of.high)}</td><td className="lab-share-cell"><Share interval={of} plain /></td></tr>)}</tbody>
    </table>
  );
}

const LOOKS: Look[] = ["main", "second", "third", "fourth"];

export function FunctionResult({ report }: { report: FunctionReport }) {
  const { heads, settings, tried } = report;
  const rows = Math.max(...heads.map((one) => one.layer)) + 1, columns = Math.max(...heads.map((one) => one.head)) + 1;
  const found = new Map(heads.map((one, rank) => [`${one.layer} ${one.head}`, { ...one, rank: rank + 1 }]));
  const value = (row: number, column: number) => found.get(`${row} ${column}`)?.effect ?? null;
  const most = Math.max(...heads.map((one) => Math.abs(one.effect)), 1e-6);
  const strengths = [...new Set(tried.map((one) => one.strength))].sort((a, b) => a - b);
  const lines = strengths.map((strength, i): Line => ({ name: `added ${number(strength)}×`, look: LOOKS[i % 4]!, points: tried.filter((one) => one.strength === strength).map((one) => [one.layer, one.accuracy.value]) }));
  return (
    <>
      <section className="lab-card" aria-labelledby="lab-vector-title" data-testid="lab-vector">
        <h2 id="lab-vector-title">The vector on bare questions</h2>
        <p>The means of {count(settings.heads, "head")} summed, added {number(report.strength)} times after layer {report.layer} at the last token of a bare question; strength and layer were chosen on other pairs.</p>
        <Shares rows={[["nothing added", report.bare], ["the function vector", report.with_vector, "is-found"], ["control: as many random heads, at its length", report.with_random_heads, "is-random"], ["control: a random vector of its length", report.with_random, "is-random"]]} />
        <LineChart name="Share of bare questions answered, by the layer after which the vector is added" x="layer after which it is added" y="share of bare questions answered (32 others, on which layer and strength were chosen)" lines={lines} always={[0, 1]} at={report.layer} testid="lab-vector-chart" />
      </section>
      <section className="lab-card" aria-labelledby="lab-heads-title" data-testid="lab-heads">
        <h2 id="lab-heads-title">Heads by causal effect</h2>
        <p className="faint">Each head’s mean over {count(settings.means, "prompt")} with right examples is put there behind shuffled ones: the mean change of the right answer’s probability over {count(settings.trials, "prompt")}.</p>
        <HeatMap name="Change of the right answer’s probability" rows={Array.from({ length: rows }, (_, i) => String(i))} columns={Array.from({ length: columns }, (_, i) => ({ label: `h${i}`, title: `head ${i}` }))} most={most} both first={foremost(rows, columns, value)}
          across="heads" up="Up: layers, the first at the bottom" testid="lab-heads-map" pictures={[{ title: "effect of each head", value }]}
          words={(row, column) => {
            const one = found.get(`${row} ${column}`);
            return one ? <><code>a{one.layer}.h{one.head}</code> <b className="num">{signed(one.effect)}</b> <span className="faint">{one.rank} of {heads.length}{one.rank <= settings.heads && "; in the vector"}</span></> : null;
          }} />
        <details className="lab-details" open>
          <summary>The heads in the vector</summary>
          <div className="lab-scroll" tabIndex={0} role="group" aria-label="The heads in the vector">
            <table className="lab-table"><thead><tr><th scope="col">head</th><th scope="col" className="num">effect</th></tr></thead>
              <tbody>{heads.slice(0, settings.heads).map((one) => <tr key={`${one.layer} ${one.head}`}><th scope="row"><code>a{one.layer}.h{one.head}</code></th><td className="num">{signed(one.effect)}</td></tr>)}</tbody></table>
          </div>
        </details>
      </section>
    </>
  );
}
