// A circuit in layers from left to right, and its edges as a list beside it; what is pointed at in one is marked in both.
import { useEffect, useMemo, useRef, useState } from "react";
import type { Edge } from "../../api/labtypes";
import { picture, type Drawn } from "../../logic/chart";
import { signed } from "../../logic/format";
import { useWidth } from "./useWidth";

const READS: Record<string, string> = { q: "its query", k: "its key", v: "its value" };

export function CircuitGraph({ edges }: { edges: Edge[] }) {
  const [box, width] = useWidth<HTMLDivElement>(700);
  const [chosen, setChosen] = useState(0);
  const [node, setNode] = useState<string | null>(null);
  const list = useRef<HTMLOListElement>(null), frame = useRef<HTMLDivElement>(null);
  const drawn = useMemo(() => picture(edges, width), [edges, width]);
  const most = Math.max(...edges.map((edge) => Math.abs(edge.score)), Number.MIN_VALUE);
  const at = Math.min(chosen, edges.length - 1);
  const one = drawn.edges[at];
  useEffect(() => {
    const item = list.current?.children[at];
    const around = list.current;
    // within the list alone: the page must not jump
    if (item instanceof HTMLElement && around) {
      const above = item.offsetTop - around.offsetTop;
      if (above < around.scrollTop) around.scrollTop = above;
      else if (above + item.offsetHeight > around.scrollTop + around.clientHeight) around.scrollTop = above + item.offsetHeight - around.clientHeight;
    }
  }, [at]);
  // where not all of it fits, the end is what a circuit is read from
  useEffect(() => { if (frame.current) frame.current.scrollLeft = frame.current.scrollWidth; }, [drawn.width]);
  const move = (event: React.KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -edges.length, End: edges.length }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    setNode(null);
    setChosen(Math.max(0, Math.min(edges.length - 1, at + by)));
  };
  const point = (edge: number) => { setNode(null); setChosen(edge); };
  const lit = (edge: Drawn, i: number) => (node ? edge.from.id === node || edge.to.id === node : i === at);
  // what is pointed at lies on top
  const order = drawn.edges.map((edge, i) => ({ edge, i })).sort((a, b) => Number(lit(a.edge, a.i)) - Number(lit(b.edge, b.i)));
  return (
    <div className="lab-graph">
      <div ref={box} className="lab-graph-frame">
        <p className="lab-edge-words" data-testid="lab-edge" aria-live="polite">{node ? <NodeWords node={node} edges={drawn.edges} /> : one && <><code>{one.edge}</code> <b className="num">{signed(one.score)}</b> <span className="faint">{at + 1} of {edges.length}{one.reads && `; ${one.to.id} reads it by ${READS[one.reads]}`}</span></>}</p>
        <div ref={frame} className="lab-scroll" tabIndex={0} role="group" aria-label="The circuit’s picture; arrow keys go through its edges" onKeyDown={move} data-testid="lab-graph">
          <svg width={drawn.width} height={drawn.height} role="img" aria-label={`${edges.length} edges between ${drawn.nodes.length} nodes`}>
            {drawn.columns.map((column) => <text key={column.label} className="column" x={column.x} y={drawn.height - 6} textAnchor="middle">{column.label}</text>)}
            {order.map(({ edge, i }) => {
              const bend = Math.max(30, (edge.to.x - edge.from.x) * 0.45);
              const d = `M${edge.from.x} ${edge.from.y}C${edge.from.x + bend} ${edge.from.y} ${edge.to.x - bend} ${edge.to.y} ${edge.to.x} ${edge.to.y}`;
              return (
                <g key={edge.edge} className={`edge ${edge.score >= 0 ? "plus" : "minus"}${lit(edge, i) ? " is-lit" : ""}`} onMouseEnter={() => point(i)}>
                  <path d={d} className="stroke" strokeWidth={1 + 7 * Math.abs(edge.score) / most} /><path d={d} className="grip"><title>{`${edge.edge} ${signed(edge.score)}`}</title></path>
                </g>
              );
            })}
            {drawn.nodes.map((part) => (
              <g key={part.id} className={`node ${part.kind}${part.id === node || (!node && one && (part.id === one.from.id || part.id === one.to.id)) ? " is-lit" : ""}`} transform={`translate(${part.x} ${part.y})`} onMouseEnter={() => setNode(part.id)} onMouseLeave={() => setNode(null)}>
                {part.kind === "mlp" ? <rect x="-17" y="-9" width="34" height="18" rx="2" /> : <rect x="-21" y="-9" width="42" height="18" rx="9" />}
                <text y="4" textAnchor="middle">{part.id}</text>
              </g>
            ))}
          </svg>
        </div>
        <p className="faint">Columns are layers that have a node here; round boxes are heads, square ones MLPs.</p>
      </div>
      <ol ref={list} className="lab-edges" data-testid="lab-edge-list" tabIndex={0} aria-label="Edges by rank" onKeyDown={move}>
        {edges.map((edge, i) => <li key={edge.edge} className={i === at && !node ? "is-chosen" : ""} onMouseEnter={() => point(i)}><code>{edge.edge}</code><span className={`num ${edge.score >= 0 ? "plus-text" : "minus-text"}`}>{signed(edge.score)}</span></li>)}
      </ol>
    </div>
  );
}

function NodeWords({ node, edges }: { node: string; edges: Drawn[] }) {
  const sum = (list: Drawn[]) => list.reduce((all, edge) => all + edge.score, 0);
  const into = edges.filter((edge) => edge.to.id === node), out = edges.filter((edge) => edge.from.id === node);
  return <><code>{node}</code> <span className="faint">{into.length} in ({signed(sum(into))}), {out.length} out ({signed(sum(out))})</span></>;
}
