// Beside the picture: the chosen node with its edges, what is pinned and grouped, and what the model says without it.
import type { GraphNode, GraphReport, Zeroed } from "../../../api/graphtypes";
import { DescriptionWords } from "../../../components/DescriptionWords";
import { IconButton } from "../../../components/IconButton";
import { Failure } from "../../../components/States";
import { between, edgesOf } from "../../../logic/graph";
import { percent, signed } from "../../../logic/format";
import { unitAddress } from "../../../logic/route";
import { choose, groupPinned, renameGroup, togglePin, type Trial, ungroup, useGraph, zero } from "../../../state/graph";

const EDGES = 12;

export function GraphSide({ report, nodes }: { report: GraphReport; nodes: boolean[] }) {
  const chosen = useGraph((s) => s.chosen), trial = useGraph((s) => s.trial);
  return (
    <aside className="graph-side" aria-label="The chosen node">
      {chosen === null ? <Foremost report={report} nodes={nodes} /> : <Chosen report={report} at={chosen} nodes={nodes} />}
      <Pinned report={report} />
      {trial && <Tried trial={trial} report={report} />}
    </aside>
  );
}

const place = (node: GraphNode, report: GraphReport) => `at “${report.prompt[node.position]?.text ?? ""}” (${node.position})`;

function Foremost({ report, nodes }: { report: GraphReport; nodes: boolean[] }) {
  const order = report.nodes.map((node, i) => ({ node, i })).filter(({ node, i }) => nodes[i] && node.kind === "unit").sort((a, b) => b.node.influence - a.node.influence).slice(0, EDGES);
  return (
    <div data-testid="graph-foremost">
      <h3>Neurons by influence</h3>
      <ol className="graph-list">{order.map(({ node, i }) => <li key={node.id}><button type="button" className="link" data-testid={`graph-neuron-${i}`} onClick={() => choose(i)}>{node.name}</button> <span className="faint">{place(node, report)}</span>{node.words && <div className="graph-words">{node.words.text}</div>}</li>)}</ol>
    </div>
  );
}

function Chosen({ report, at, nodes }: { report: GraphReport; at: number; nodes: boolean[] }) {
  const node = report.nodes[at]!;
  const pinned = useGraph((s) => s.pinned.includes(at)), grouped = useGraph((s) => s.groups.some((group) => group.nodes.includes(at)));
  return (
    <div data-testid="graph-chosen" data-node={node.id}>
      <div className="row"><h3>{node.unit ? <a href={unitAddress(node.unit)}>{node.name}</a> : node.name}</h3><span className="spacer" /><IconButton icon="close" label="Choose nothing" className="quiet tiny" data-testid="graph-unchoose" onClick={() => choose(null)} /></div>
      <p className="faint">{place(node, report)}{node.value != null && `, value ${signed(node.value)}`}; influence {percent(node.influence)}{node.kind !== "logit" && `; predicted without it ${signed(node.predicted)} on “${report.outputs[0]?.token.text ?? ""}”`}</p>
      {node.kind === "unit" && <p><DescriptionWords words={node.words ?? null} /></p>}
      <div className="row wrap">
        {!grouped && <button type="button" className="button small" data-testid="graph-pin" aria-pressed={pinned} onClick={() => togglePin(at)}>{pinned ? "Unpin" : "Pin"}</button>}
        {node.unit && <button type="button" className="button small" data-testid="graph-zero" onClick={() => void zero(node.name, [at])}>Zero this neuron</button>}
      </div>
      <Ends report={report} at={at} nodes={nodes} end="in" /><Ends report={report} at={at} nodes={nodes} end="out" />
    </div>
  );
}

function Ends({ report, at, nodes, end }: { report: GraphReport; at: number; nodes: boolean[]; end: "in" | "out" }) {
  const edges = edgesOf(report, at, end, nodes);
  if (edges.length === 0) return null;
  return (
    <>
      <h4>{end === "in" ? "From" : "To"} <span className="faint">{edges.length > EDGES ? `${EDGES} of ${edges.length}` : edges.length}</span></h4>
      <ol className="graph-list" data-testid={`graph-${end}`}>{edges.slice(0, EDGES).map((edge) => {
        const i = end === "in" ? edge.source : edge.target, other = report.nodes[i]!;
        return <li key={i}><span className={`num ${edge.weight >= 0 ? "plus-text" : "minus-text"}`}>{signed(edge.weight)}</span> <button type="button" className="link" onClick={() => choose(i)}>{other.name}</button> <span className="faint">{place(other, report)}</span></li>;
      })}</ol>
    </>
  );
}

function Pinned({ report }: { report: GraphReport }) {
  const pinned = useGraph((s) => s.pinned), groups = useGraph((s) => s.groups);
  if (pinned.length === 0 && groups.length === 0) return null;
  const name = (i: number) => `${report.nodes[i]!.name} @${report.nodes[i]!.position}`;
  const parts = [...groups.map((group) => ({ name: group.label, nodes: group.nodes })), ...pinned.map((i) => ({ name: name(i), nodes: [i] }))];
  const sums = between(report, parts).slice(0, EDGES);
  const neurons = (list: number[]) => list.some((i) => report.nodes[i]!.unit);
  return (
    <div data-testid="graph-pinned">
      <h3>Pinned and grouped</h3>
      {groups.map((group, g) => (
        <div key={g} className="graph-group">
          <div className="row"><input aria-label="The group’s name" data-testid={`graph-group-${g}`} value={group.label} onChange={(event) => renameGroup(g, event.target.value)} /><IconButton icon="close" label="Ungroup" className="quiet tiny" data-testid={`graph-ungroup-${g}`} onClick={() => ungroup(g)} /></div>
          <p className="faint">{group.nodes.map(name).join(", ")}</p>
          {neurons(group.nodes) && <button type="button" className="button small" data-testid={`graph-zero-group-${g}`} onClick={() => void zero(group.label, group.nodes)}>Zero the group</button>}
        </div>
      ))}
      {pinned.length > 0 && <ul className="graph-list">{pinned.map((i) => <li key={i}><button type="button" className="link" onClick={() => choose(i)}>{name(i)}</button> <IconButton icon="close" label={`Unpin ${name(i)}`} className="quiet tiny" onClick={() => togglePin(i)} /></li>)}</ul>}
      {pinned.length > 0 && <button type="button" className="button small" data-testid="graph-group" onClick={groupPinned}>Group the {pinned.length} pinned</button>}
      {sums.length > 0 && <><h4>What they add to each other</h4><ol className="graph-list" data-testid="graph-between">{sums.map((sum) => <li key={`${sum.from} ${sum.to}`}><span className={`num ${sum.weight >= 0 ? "plus-text" : "minus-text"}`}>{signed(sum.weight)}</span> {sum.from} <span className="faint">to</span> {sum.to}</li>)}</ol></>}
    </div>
  );
}

function Tried({ trial, report }: { trial: Trial; report: GraphReport }) {
  return (
    <div data-testid="graph-trial" data-state={trial.result ? "done" : trial.error ? "failed" : "running"}>
      <h3>Without {trial.name}</h3>
      {trial.error ? <Failure error={trial.error} /> : !trial.result ? <p role="status" className="faint">Running the model…</p> : <Without result={trial.result} trial={trial} report={report} />}
    </div>
  );
}

function Without({ result, trial, report }: { result: Zeroed; trial: Trial; report: GraphReport }) {
  const first = report.outputs[0]?.token;
  const measured = result.logits.find((one) => one.token.id === first?.id);
  const p = (list: Zeroed["plain"], id: number) => list.find((one) => one.id === id)?.probability;
  return (
    <>
      {measured && !report.outputs[0]?.foil && <p>“{first?.text}”: predicted <b className="num">{signed(trial.predicted)}</b>, measured <b className="num" data-testid="graph-measured">{signed(measured.without - measured.plain)}</b> <span className="faint">of its logit above the mean</span></p>}
      <table className="lab-table" data-testid="graph-logits">
        <thead><tr><th scope="col">token</th><th scope="col" className="num">plain</th><th scope="col" className="num">without</th><th scope="col" className="num">logit</th></tr></thead>
        <tbody>{result.logits.slice(0, EDGES).map((one) => <tr key={one.token.id}><th scope="row">“{one.token.text}”</th><td className="num">{percent(p(result.plain, one.token.id))}</td><td className="num">{percent(p(result.without, one.token.id))}</td><td className={`num ${one.without >= one.plain ? "plus-text" : "minus-text"}`}>{signed(one.without - one.plain)}</td></tr>)}</tbody>
      </table>
    </>
  );
}
