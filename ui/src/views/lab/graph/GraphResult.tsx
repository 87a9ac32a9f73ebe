// What came of it: how much of the word the nodes explain, the picture with its sliders, the chosen node, and predictions beside what happened.
import { useMemo } from "react";
import type { GraphReply, GraphReport } from "../../../api/graphtypes";
import { Icon } from "../../../components/Icon";
import { download } from "../../../components/download";
import { count, number, percent, signed, two } from "../../../logic/format";
import { fileWith, visible } from "../../../logic/graph";
import { choose, graph, useGraph } from "../../../state/graph";
import { GraphDrawing } from "./GraphDrawing";
import { GraphSide } from "./GraphSide";

export function GraphResult({ reply }: { reply: GraphReply }) {
  const { report } = reply;
  const nodeShare = useGraph((s) => s.nodeShare), edgeShare = useGraph((s) => s.edgeShare);
  const shown = useMemo(() => visible(report, nodeShare, edgeShare), [report, nodeShare, edgeShare]);
  const drawn = shown.nodes.filter(Boolean).length;
  const save = () => {
    const { pinned, groups, chosen } = graph.get();
    download("graph.json", fileWith(reply.file!, report, pinned, groups, chosen));
  };
  return (
    <>
      <section className="lab-card" aria-labelledby="graph-title" data-testid="graph-card">
        <div className="row wrap">
          <h2 id="graph-title">What reaches {report.outputs.length === 1 ? `“${report.outputs[0]!.token.text}”` : "the next word"}</h2><span className="spacer" />
          {reply.file !== null && reply.file !== undefined ? <button type="button" className="button small" data-testid="graph-download" onClick={save}><Icon name="download" size={14} /> The graph as JSON</button>
            : <span className="faint">The graph is too large to be sent as a file; <code>pellucid graph --out FILE</code> writes it.</span>}
        </div>
        <Summary report={report} links={reply.links} />
        <Sliders drawn={drawn} links={shown.links.length} />
        <div className="graph-main">
          <GraphDrawing report={report} shown={shown} />
          <GraphSide report={report} nodes={shown.nodes} />
        </div>
        <p className="faint">Layers from below to above, tokens from left to right. Round: a neuron at a token; diamond: what the layer’s other neurons add there. Blue adds, orange dashed takes away; wider is more. Attention and norm scales are held at what they were, so how attention came to look where it looks is not in it. Point at a node for its edges; click pins it.</p>
      </section>
      <Checks report={report} />
    </>
  );
}

function Summary({ report, links }: { report: GraphReport; links: number }) {
  const outputs = report.outputs.map((one) => `“${one.token.text}” ${percent(one.probability)}`).join(", ");
  return (
    <p data-testid="graph-summary">
      {outputs}{report.outputs[0]?.foil && `, above “${report.outputs[0].foil.text}”`}. {count(report.neurons, "neuron")} of the MLPs as nodes in {number(report.seconds)} s; {report.nodes.length.toLocaleString("en-GB")} of {report.all_nodes.toLocaleString("en-GB")} nodes and {links.toLocaleString("en-GB")} of {report.all_edges.toLocaleString("en-GB")} edges kept. <span title="Of the influence that ends somewhere, the share that ends in tokens and not in errors">Replacement <b className="num">{two(report.replacement)}</b></span>, <span title="Of what reaches nodes, weighed by their influence, the share that is no error">completeness <b className="num">{two(report.completeness)}</b></span>.
    </p>
  );
}

function Sliders({ drawn, links }: { drawn: number; links: number }) {
  const nodeShare = useGraph((s) => s.nodeShare), edgeShare = useGraph((s) => s.edgeShare);
  const slider = (label: string, value: number, set: (value: number) => void, testid: string, words: string) => (
    <label className="lab-slider">
      <span>{label}</span>
      <input type="range" min={0} max={1} step={0.02} value={value} data-testid={testid} aria-valuetext={words} onChange={(event) => set(Number(event.target.value))} />
      <b className="num" data-testid={`${testid}-value`}>{words}</b>
    </label>
  );
  return (
    <div className="graph-sliders">
      {slider("Nodes that hold", nodeShare, (value) => graph.set({ nodeShare: value }), "graph-nodes", `${percent(nodeShare)}: ${drawn.toLocaleString("en-GB")}`)}
      {slider("Edges that hold", edgeShare, (value) => graph.set({ edgeShare: value }), "graph-edges", `${percent(edgeShare)}: ${links.toLocaleString("en-GB")}`)}
    </div>
  );
}

function Checks({ report }: { report: GraphReport }) {
  if (report.checks.length === 0) return null;
  const name = `“${report.outputs[0]?.token.text ?? ""}”`;
  return (
    <section className="lab-card" aria-labelledby="graph-checks-title">
      <h2 id="graph-checks-title">The foremost neurons truly zeroed</h2>
      <p className="faint">One by one, each at its token, with everything after it free to answer; the change of {name}’s logit. Beside each, a neuron of the same layer and token that is no node and about as active.</p>
      <div className="lab-scroll" tabIndex={0} role="group" aria-label="Predicted and measured">
        <table className="lab-table" data-testid="graph-checks">
          <thead><tr><th scope="col">neuron</th><th scope="col">token</th><th scope="col" className="num">predicted</th><th scope="col" className="num">measured</th><th scope="col">control</th><th scope="col" className="num">measured</th></tr></thead>
          <tbody>{report.checks.map((check) => (
            <tr key={check.node}>
              <th scope="row"><button type="button" className="link" onClick={() => choose(check.node)}>{report.nodes[check.node]!.name}</button></th>
              <td>“{report.prompt[check.unit.position]?.text}”</td><td className="num">{signed(check.predicted)}</td><td className="num">{signed(check.unit.change)}</td>
              <td>{check.control ? <code>{check.control.unit}</code> : "–"}</td><td className="num">{signed(check.control?.change)}</td>
            </tr>
          ))}</tbody>
        </table>
      </div>
      <p className="faint" data-testid="graph-agreement">Mean size of change {number(report.mean_change)}, of the controls’ {number(report.mean_control)}{report.agreement && `; predicted and measured agree by rank with ρ ${two(report.agreement.rho)} (${two(report.agreement.low)} to ${two(report.agreement.high)})`}.</p>
    </section>
  );
}
