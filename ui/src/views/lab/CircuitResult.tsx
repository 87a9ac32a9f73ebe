// Circuits: what circuits of growing size keep beside their controls, and the foremost edges as a picture and a list.
import { useState } from "react";
import type { CircuitPoint, CircuitReply, CircuitReport } from "../../api/labtypes";
import { Icon } from "../../components/Icon";
import { download } from "../../components/download";
import { count, number, percent, signed, two } from "../../logic/format";
import { CircuitGraph } from "./CircuitGraph";
import { type Line, LineChart } from "./LineChart";

/** Edges that are drawn at most: beyond, nothing can be told apart. */
const DRAWN = 60;

export function CircuitResult({ reply }: { reply: CircuitReply }) {
  const report = reply.report!;
  const points = report.skeleton.points.filter((point) => point.circuit.edges > 0);
  const enough = points.findIndex((point) => point.circuit.faithfulness >= 0.8);
  const [at, setAt] = useState(enough < 0 ? points.length - 1 : enough);
  const point = points[Math.min(at, points.length - 1)]!;
  const drawn = Math.min(DRAWN, point.circuit.edges, report.circuit.length);
  return (
    <>
      <section className="lab-card" aria-labelledby="lab-skeleton-title" data-testid="lab-skeleton">
        <h2 id="lab-skeleton-title">What circuits of growing size keep</h2>
        <p className="faint">{count(report.edges, "edge")} scored on {count(report.fitted_on, "item")}{report.scoring_seconds !== null && ` in ${number(report.scoring_seconds)} s`}; circuits measured on {report.tested_on} others. Faithfulness is 1 for the whole model and 0 with every edge cut.</p>
        <label className="lab-slider">
          <span>Edges kept</span>
          <input type="range" min={0} max={points.length - 1} step={1} value={at} data-testid="lab-k" aria-valuetext={count(point.circuit.edges, "edge")} onChange={(event) => setAt(Number(event.target.value))} />
          <b className="num" data-testid="lab-k-value">{point.circuit.edges.toLocaleString("en-GB")}</b> <span className="faint">({percent(point.fraction)})</span>
        </label>
        <Numbers point={point} off={report.off_task.behaviour} />
        <Curves points={points} off={report.off_task.behaviour} here={point.circuit.edges} />
        <p className="faint" data-testid="lab-areas">CPR {report.skeleton.cpr.toFixed(3)}: the area below the faithfulness with edges in signed order (more is better, it may pass 1). CMD {report.skeleton.cmd.toFixed(3)}: the area between the faithfulness and 1 with edges by size (0 is best). Both as the MIB benchmark has them: {report.skeleton.points.length} fractions of all edges, linear axis from 0 to 1, trapezoids.</p>
      </section>
      <section className="lab-card" aria-labelledby="lab-circuit-title" data-testid="lab-circuit">
        <div className="row wrap">
          <h2 id="lab-circuit-title">The foremost {drawn} edges</h2><span className="spacer" />
          {reply.file !== null
            ? <button type="button" className="button small" data-testid="lab-download" onClick={() => download(`circuit-${report.gate.behaviour.replace(/\W+/g, "-")}.json`, JSON.parse(reply.file!))}><Icon name="download" size={14} /> The circuit of {count(reply.size, "edge")} as JSON</button>
            : <span className="faint">The circuit of {count(reply.size, "edge")} is too large to be sent; <code>pellucid circuit --save FILE</code> writes it.</span>}
        </div>
        <p className="faint">An edge’s score is what cutting it alone is predicted to take from the log-odds. Blue: it helps; orange, dashed: it works against. Wider is more. Point at one, or move through them with the arrow keys. The file holds the smallest measured circuit that keeps four fifths of the behaviour, or as many edges as were asked for.</p>
        <CircuitGraph edges={report.circuit.slice(0, drawn)} />
        <Nodes report={report} />
      </section>
    </>
  );
}

function Numbers({ point, off }: { point: CircuitPoint; off: string }) {
  const rows: [string, CircuitPoint["circuit"] | null][] = [["the circuit", point.circuit], ["all but the circuit", point.complement], ["as many random edges", point.random], [`the circuit, on ${off}`, point.off_task]];
  return (
    <div className="lab-scroll" tabIndex={0} role="group" aria-label="What is kept at this size">
      <table className="lab-table" data-testid="lab-k-numbers">
        <thead><tr><th scope="col">kept</th><th scope="col" className="num">edges</th><th scope="col" className="num">alive</th><th scope="col" className="num">faithfulness</th><th scope="col" className="num">accuracy</th><th scope="col" className="num">log-odds</th><th scope="col" className="num">KL, nats</th></tr></thead>
        <tbody>{rows.map(([name, of]) => of && <tr key={name}><th scope="row">{name}</th><td className="num">{of.edges.toLocaleString("en-GB")}</td><td className="num">{of.alive.toLocaleString("en-GB")}</td><td className="num">{signed(of.faithfulness)}</td><td className="num" title={`95% interval ${two(of.accuracy.low)} to ${two(of.accuracy.high)}`}>{two(of.accuracy.value)}</td><td className="num">{signed(of.log_odds.value)}</td><td className="num">{number(of.kl)}</td></tr>)}</tbody>
      </table>
    </div>
  );
}

function Curves({ points, off, here }: { points: CircuitPoint[]; off: string; here: number }) {
  const along = (name: string, look: Line["look"], pick: (point: CircuitPoint) => number | undefined): Line =>
    ({ name, look, points: points.flatMap((point): [number, number][] => { const y = pick(point); return y === undefined ? [] : [[point.circuit.edges, y]]; }) });
  return (
    <div className="lab-double">
      <LineChart name="Faithfulness against edges kept, logarithmic axis" x="edges kept" y="faithfulness (drawn from −0.5 to 1.5)" log always={[0, 1]} within={[-0.5, 1.5]} at={here} height={260} testid="lab-curve"
        lines={[along("the circuit", "main", (p) => p.circuit.faithfulness), along("all but the circuit", "second", (p) => p.complement.faithfulness), along("random edges", "plain", (p) => p.random.faithfulness), along(`on ${off}`, "third", (p) => p.off_task?.faithfulness)]} />
      <LineChart name="KL divergence from the whole model against edges kept, logarithmic axis" x="edges kept" y="KL from the whole model, nats" log always={[0]} at={here} height={260} testid="lab-kl"
        lines={[along("the circuit", "main", (p) => p.circuit.kl), along("all but the circuit", "second", (p) => p.complement.kl), along("random edges", "plain", (p) => p.random.kl), along(`on ${off}`, "third", (p) => p.off_task?.kl)]} />
    </div>
  );
}

function Nodes({ report }: { report: CircuitReport }) {
  return (
    <details className="lab-details">
      <summary>Nodes by score, each with those above it and everything that they write</summary>
      <table className="lab-table">
        <thead><tr><th scope="col">node</th><th scope="col" className="num">score</th><th scope="col" className="num">faithfulness</th><th scope="col" className="num">accuracy</th></tr></thead>
        <tbody>{report.nodes.map((node) => <tr key={node.node}><th scope="row"><code>{node.node}</code></th><td className="num">{signed(node.score)}</td><td className="num">{signed(node.together.faithfulness)}</td><td className="num">{two(node.together.accuracy.value)}</td></tr>)}</tbody>
      </table>
    </details>
  );
}
