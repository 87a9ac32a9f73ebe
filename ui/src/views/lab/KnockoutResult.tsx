// Attention knockout: what the answer loses when one position no longer sees a token, layer by layer.
import type { KnockedOut, KnockoutReport } from "../../api/labtypes";
import { count, number, signed, two } from "../../logic/format";
import { spaced } from "../../logic/tokens";
import { foremost, HeatMap } from "./HeatMap";

export function KnockoutResult({ report }: { report: KnockoutReport }) {
  const { cut, tokens } = report;
  const layers = [...new Set(cut.map((one) => one.layer))].sort((a, b) => a - b), keys = [...new Set(cut.map((one) => one.key))].sort((a, b) => a - b);
  const found = new Map(cut.map((one) => [`${one.layer} ${one.key}`, one]));
  const cell = (row: number, column: number): KnockedOut | null => found.get(`${layers[row]} ${keys[column]}`) ?? null;
  const value = (row: number, column: number) => cell(row, column)?.change.value ?? null;
  const most = Math.max(...cut.flatMap((one) => [Math.abs(one.change.value), Math.abs(one.control?.value ?? 0)]), 0.01);
  const token = (key: number) => spaced(tokens[key]?.text ?? "");
  const order = [...cut].sort((a, b) => Math.abs(b.change.value) - Math.abs(a.change.value)).slice(0, 8);
  return (
    <section className="lab-card" aria-labelledby="lab-knockout-title" data-testid="lab-knockout">
      <h2 id="lab-knockout-title">What is lost when a token is no longer seen</h2>
      <p>{count(report.items, "item")} of one length{report.left_out > 0 && `, ${report.left_out} left out`}. The token at position {number(report.query)}{report.query === -1 && " (the last)"} no longer attends to one other token, in every head of {count(report.window, "layer")} from each layer on.</p>
      <p className="faint">Change of the log-odds of right against wrong; {signed(report.gate.log_odds.value)} as the model is. Orange, with a dash: the answer loses by it. The control cuts a random other token of the item, the first one excepted: attention rests on the first token when it has nothing to look at, so that cutting it changes more than what it says.</p>
      <HeatMap name="Change of the log-odds" rows={layers.map(String)} columns={keys.map((key) => ({ label: token(key), title: `position ${key}: ${token(key)}` }))} most={most} both first={foremost(layers.length, keys.length, value)}
        across="the token that is no longer seen (of the first item)" up="Up: the first of the cut layers" testid="lab-knockout-map"
        pictures={[{ title: "this token is cut", value }, { title: "control: a random other one is cut", value: (r, c) => cell(r, c)?.control?.value ?? null }]}
        words={(row, column) => {
          const one = cell(row, column);
          if (!one) return <span className="faint">Nothing is cut there.</span>;
          return <>Without <b>{token(one.key)}</b> from layer {one.layer} on: <b className="num">{signed(one.change.value)}</b> <span className="faint">({signed(one.change.low)} to {signed(one.change.high)}), accuracy {two(one.accuracy.value)}; a random other token: {one.control ? signed(one.control.value) : "–"}</span></>;
        }} />
      <details className="lab-details" open>
        <summary>The foremost edges</summary>
        <div className="lab-scroll" tabIndex={0} role="group" aria-label="The foremost edges">
          <table className="lab-table">
            <thead><tr><th scope="col" className="num">from layer</th><th scope="col">token</th><th scope="col" className="num">change</th><th scope="col" className="num">95% interval</th><th scope="col" className="num">accuracy</th><th scope="col" className="num">a random other</th></tr></thead>
            <tbody>{order.map((one) => <tr key={`${one.layer} ${one.key}`}><th scope="row" className="num">{one.layer}</th><td>{one.key} {token(one.key)}</td><td className="num">{signed(one.change.value)}</td><td className="num faint">{signed(one.change.low)} to {signed(one.change.high)}</td><td className="num">{two(one.accuracy.value)}</td><td className="num">{one.control ? signed(one.control.value) : "–"}</td></tr>)}</tbody>
          </table>
        </div>
      </details>
    </section>
  );
}
