// The picture: zoomed by the wheel or its buttons, moved by dragging, walked by the arrow keys.
import { useEffect, useMemo, useRef, useState } from "react";
import type { GraphNode, GraphReport } from "../../../api/graphtypes";
import { IconButton } from "../../../components/IconButton";
import { edgesOf, layout, type Layout, towards } from "../../../logic/graph";
import { signed } from "../../../logic/format";
import { choose, togglePin, useGraph } from "../../../state/graph";
import { useWidth } from "../useWidth";

interface Sight { x: number; y: number; scale: number }
const TONES = ["one", "two", "three", "four", "five", "six"];
const OVER = 60, TALLEST = 760;

export function GraphDrawing({ report, shown }: { report: GraphReport; shown: { nodes: boolean[]; links: number[] } }) {
  const [box, width] = useWidth<HTMLDivElement>(800);
  const plan = useMemo(() => layout(report, shown.nodes, { width, tallest: TALLEST }), [report, shown.nodes, width]);
  const [sight, setSight] = useState<Sight | null>(null);
  const [over, setOver] = useState<number | null>(null);
  const chosen = useGraph((s) => s.chosen), pinned = useGraph((s) => s.pinned), groups = useGraph((s) => s.groups);
  const svg = useRef<SVGSVGElement>(null);
  const drag = useRef<{ x: number; y: number; moved: boolean } | null>(null);
  const height = Math.min(TALLEST, Math.max(320, plan.height));
  const whole = Math.min(1.4, width / plan.width, height / plan.height);
  const at = sight ?? { x: (width - plan.width * whole) / 2, y: (height - plan.height * whole) / 2, scale: whole };
  const zoom = (by: number, x = width / 2, y = height / 2) => {
    const scale = Math.min(6, Math.max(whole * 0.6, at.scale * by)), share = scale / at.scale;
    setSight({ scale, x: x - (x - at.x) * share, y: y - (y - at.y) * share });
  };
  const nearest = (event: React.PointerEvent<SVGSVGElement> | React.MouseEvent<SVGSVGElement>): number | null => {
    const frame = event.currentTarget.getBoundingClientRect();
    const x = (event.clientX - frame.left - at.x) / at.scale, y = (event.clientY - frame.top - at.y) / at.scale;
    let best: number | null = null, least = (14 / Math.min(1, at.scale)) ** 2;
    plan.spots.forEach((spot, i) => {
      const away = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (shown.nodes[i] && away < least) { least = away; best = i; }
    });
    return best;
  };
  const move = (event: React.PointerEvent<SVGSVGElement>) => {
    if (drag.current && event.buttons === 1) {
      const dx = event.clientX - drag.current.x, dy = event.clientY - drag.current.y;
      if (!drag.current.moved && Math.hypot(dx, dy) < 4) return;
      drag.current = { x: event.clientX, y: event.clientY, moved: true };
      setSight({ ...at, x: at.x + dx, y: at.y + dy });
    } else setOver(nearest(event));
  };
  const click = (event: React.MouseEvent<SVGSVGElement>) => {
    if (drag.current?.moved) return;
    const node = nearest(event);
    if (node !== null) { choose(node); togglePin(node); }
  };
  const key = (event: React.KeyboardEvent) => {
    if (event.key === "+" || event.key === "=") zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else if (event.key === "0") setSight(null);
    else if (event.key === "Enter" || event.key === " ") { if (chosen !== null) togglePin(chosen); }
    else if (event.key.startsWith("Arrow")) choose(chosen === null || !shown.nodes[chosen] ? firstOf(report, shown.nodes) : towards(plan.spots, shown.nodes, chosen, event.key));
    else return;
    event.preventDefault();
  };
  const wheel = useRef<(event: WheelEvent) => void>(() => undefined);
  useEffect(() => {
    wheel.current = (event) => {
      // a page that is scrolled past must not zoom what lies under the pointer
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const frame = (event.currentTarget as Element).getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - frame.left, event.clientY - frame.top);
    };
  });
  useEffect(() => {
    // React's own listener may not stop the browser's zoom
    const element = svg.current, listen = (event: WheelEvent) => wheel.current(event);
    element?.addEventListener("wheel", listen, { passive: false });
    return () => element?.removeEventListener("wheel", listen);
  }, []);
  const lit = over ?? chosen;
  return (
    <div ref={box} className="graph-frame">
      <div className="graph-tools">
        <IconButton icon="plus" label="Nearer (+, or Ctrl and the wheel)" className="tiny" data-testid="graph-nearer" onClick={() => zoom(1.3)} />
        <button type="button" className="icon-button tiny" aria-label="Further (−)" title="Further (−)" data-testid="graph-further" onClick={() => zoom(1 / 1.3)}>−</button>
        <button type="button" className="button small quiet" data-testid="graph-whole" onClick={() => setSight(null)}>whole</button>
        <span className="graph-over" data-testid="graph-over" aria-live="polite">{lit !== null && shown.nodes[lit] && <Told node={report.nodes[lit]!} report={report} />}</span>
      </div>
      <div className="graph-picture" tabIndex={0} role="group" aria-label="The graph; arrow keys go from node to node, Enter pins" onKeyDown={key} data-testid="graph-picture" data-scale={at.scale.toFixed(3)} data-chosen={chosen ?? ""}>
        <svg ref={svg} width={width} height={height} role="img" aria-label={`${shown.nodes.filter(Boolean).length} nodes and ${shown.links.length} edges`} onPointerMove={move} onPointerLeave={() => setOver(null)} onClick={click}
          onPointerDown={(event) => { drag.current = { x: event.clientX, y: event.clientY, moved: false }; }}>
          <g transform={`translate(${at.x} ${at.y}) scale(${at.scale})`}>
            {plan.rows.map((row) => <g key={row.label} className="graph-row"><line x1="36" x2={plan.width} y1={row.y} y2={row.y} /><text x="30" y={row.y + 4} textAnchor="end">{row.label}</text></g>)}
            {plan.columns.map((column) => <text key={column.position} className="graph-word" x={column.x} y={plan.height - 28} textAnchor="middle">{short(report.prompt[column.position]?.text ?? "")}</text>)}
            <Lines report={report} links={shown.links} plan={plan} faint={lit !== null} />
            {lit !== null && shown.nodes[lit] && <Lit report={report} node={lit} nodes={shown.nodes} plan={plan} />}
            {report.nodes.map((node, i) => shown.nodes[i] && <Mark key={node.id} node={node} at={plan.spots[i]!} lit={i === lit} pinned={pinned.includes(i)} group={groups.findIndex((group) => group.nodes.includes(i))} />)}
            {groups.map((group, g) => <GroupName key={g} label={group.label} tone={g} spots={group.nodes.filter((i) => shown.nodes[i]).map((i) => plan.spots[i]!)} />)}
          </g>
        </svg>
      </div>
    </div>
  );
}

const firstOf = (report: GraphReport, shown: boolean[]): number => report.nodes.findIndex((node, i) => shown[i] && node.kind === "logit");
const short = (text: string) => { const plain = text.trim() || text; return plain.length > 9 ? `${plain.slice(0, 8)}…` : plain; };

function Told({ node, report }: { node: GraphNode; report: GraphReport }) {
  return <><code>{node.name}</code> <span className="faint">at “{report.prompt[node.position]?.text}”{node.value != null && `, ${signed(node.value)}`}</span>{node.words && <> {node.words.text}</>}</>;
}

const curve = (plan: Layout, from: number, to: number) => {
  const a = plan.spots[from]!, b = plan.spots[to]!, half = (a.y + b.y) / 2;
  return `M${a.x.toFixed(1)} ${a.y.toFixed(1)}C${a.x.toFixed(1)} ${half.toFixed(1)} ${b.x.toFixed(1)} ${half.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`;
};

/** All edges in a few paths, by sign and width: thousands of elements would be slow. */
function Lines({ report, links, plan, faint }: { report: GraphReport; links: number[]; plan: Layout; faint: boolean }) {
  const paths = useMemo(() => {
    const by = new Map<string, string[]>();
    for (const i of links) {
      const link = report.links[i]!;
      // what holds most of the influence is drawn widest
      const key = `${link.weight >= 0 ? "plus" : "minus"} ${link.held < 0.2 ? 3 : link.held < 0.5 ? 2 : 1}`;
      by.set(key, [...(by.get(key) ?? []), curve(plan, link.source, link.target)]);
    }
    return [...by].map(([key, parts]) => ({ key, d: parts.join("") }));
  }, [report, links, plan]);
  return <g className={`graph-lines${faint ? " is-faint" : ""}`}>{paths.map(({ key, d }) => <path key={key} className={key.split(" ")[0]} strokeWidth={[0, 0.6, 1.2, 2.2][Number(key.split(" ")[1])]} d={d} />)}</g>;
}

function Lit({ report, node, nodes, plan }: { report: GraphReport; node: number; nodes: boolean[]; plan: Layout }) {
  const edges = useMemo(() => (["in", "out"] as const).flatMap((end) => edgesOf(report, node, end, nodes).slice(0, OVER)), [report, node, nodes]);
  const most = Math.max(...edges.map((edge) => Math.abs(edge.weight)), Number.MIN_VALUE);
  return <g className="graph-lit">{edges.map((edge) => <path key={`${edge.source} ${edge.target}`} className={edge.weight >= 0 ? "plus" : "minus"} strokeWidth={0.8 + 4 * (Math.abs(edge.weight) / most)} d={curve(plan, edge.source, edge.target)} />)}</g>;
}

function Mark({ node, at, lit, pinned, group }: { node: GraphNode; at: { x: number; y: number }; lit: boolean; pinned: boolean; group: number }) {
  const size = 3 + 3 * Math.min(1, Math.sqrt(node.influence * 4));
  return (
    <g className={`graph-node ${node.kind}${lit ? " is-lit" : ""}${pinned ? " is-pinned" : ""}${group >= 0 ? ` in-group tone-${TONES[group % TONES.length]}` : ""}`} transform={`translate(${at.x} ${at.y})`} data-node={node.id}>
      {node.kind === "error" ? <path d={`M0 ${-size - 1}L${size + 1} 0L0 ${size + 1}L${-size - 1} 0Z`} /> : node.kind === "unit" ? <circle r={size} /> : <rect x="-5" y="-5" width="10" height="10" rx="2" />}
      <title>{node.name}</title>
    </g>
  );
}

function GroupName({ label, tone, spots }: { label: string; tone: number; spots: { x: number; y: number }[] }) {
  if (spots.length === 0) return null;
  const x = spots.reduce((sum, spot) => sum + spot.x, 0) / spots.length, y = Math.min(...spots.map((spot) => spot.y)) - 10;
  return <text className={`graph-group-name tone-${TONES[tone % TONES.length]}`} x={x} y={y} textAnchor="middle">{label}</text>;
}
