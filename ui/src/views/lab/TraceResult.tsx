// Tracing: what share of the answer each place (or each path) restores, beside a stranger's value in the same place.
import type { Interval, TraceCell, TraceReport } from "../../api/labtypes";
import { count, signed, two } from "../../logic/format";
import { spaced } from "../../logic/tokens";
import { type Column, foremost, HeatMap } from "./HeatMap";

const NAMES: Record<string, string> = { resid_pre: "the stream before each layer", resid_mid: "the stream between attention and MLP", attn_out_post: "what attention adds", mlp_out_post: "what the MLP adds", z: "each head, at all positions" };
export const layerOf = (site: string) => Number(site.split(".")[1] ?? 0);
const ends = (of: Interval | null) => (of ? `${two(of.value)} (${two(of.low)} to ${two(of.high)})` : "–");

interface Place { site: string; head: number | null; position: number | null; recovered: Interval; control: Interval | null }

export function TraceResult({ report }: { report: TraceReport }) {
  const { direction } = report;
  const does = direction === "denoise" ? "restores" : "leaves";
  const what = direction === "denoise" ? "Clean values go into the corrupted run, one place at a time: what share of the answer does each place restore?" : "Corrupted values go into the clean run, one place at a time: what share of the answer does each place leave?";
  const paths: TraceCell[] = report.paths.map((one) => ({ ...one, position: null }));
  return (
    <>
      <section className="lab-card" aria-labelledby="lab-pairs-title" data-testid="lab-pairs">
        <h2 id="lab-pairs-title">Two runs of each item</h2>
        <p>{count(report.items, "item")} of one length{report.left_out > 0 && `, ${report.left_out} left out (of another length, or without a counterfactual of theirs)`}. Log-odds of right against wrong: <b className="num">{signed(report.clean.value)}</b> clean, <b className="num">{signed(report.corrupted.value)}</b> corrupted by {report.corruption === "noise" ? "noise on the tokens that differ" : "the counterfactual prompt"}.</p>
        <p className="faint">On the first item: {report.positions.map((one) => <span key={one.position} className="lab-token">{one.counterfactual === null || one.counterfactual === one.text ? spaced(one.text) : <b>{spaced(one.text)} / {spaced(one.counterfactual)}</b>}</span>)}</p>
        <p className="faint">{what} 0 is the corrupted run and 1 the clean one, in log-odds. The control is a stranger: the same place from another item on the side that is changed, which carries no answer.</p>
      </section>
      {report.grids.map((grid) => <Map key={grid.point} title={`${(NAMES[grid.point] ?? grid.point)[0]!.toUpperCase()}${(NAMES[grid.point] ?? grid.point).slice(1)}`} point={grid.point} cells={grid.cells} report={report} does={does} />)}
      {paths.length > 0 && <Map title={`Paths to ${report.receivers.join(", ")}`} point="paths" cells={paths} report={report} does={does} />}
    </>
  );
}

function Map({ title, point, cells, report, does }: { title: string; point: string; cells: Place[]; report: TraceReport; does: string }) {
  const layers = [...new Set(cells.map((cell) => layerOf(cell.site)))].sort((a, b) => a - b);
  const key = (cell: Place) => cell.head ?? cell.position ?? 0;
  const keys = [...new Set(cells.map(key))].sort((a, b) => a - b);
  const byHead = cells.some((cell) => cell.head !== null);
  const columns: Column[] = keys.map((k) => {
    if (byHead) return { label: `h${k}`, title: `head ${k}` };
    const at = report.positions[k];
    const text = at ? spaced(at.text) : String(k);
    return { label: text, title: `position ${k}: ${text}${at?.counterfactual && at.counterfactual !== at.text ? `, or ${spaced(at.counterfactual)}` : ""}` };
  });
  const found = new globalThis.Map(cells.map((cell) => [`${layerOf(cell.site)} ${key(cell)}`, cell]));
  const cell = (row: number, column: number) => found.get(`${layers[row]} ${keys[column]}`) ?? null;
  const value = (row: number, column: number) => cell(row, column)?.recovered.value ?? null;
  const base = report.direction === "denoise" ? 0 : 1;
  const distance = (row: number, column: number) => { const v = value(row, column); return v === null ? null : v - base; };
  const order = [...cells].sort((a, b) => Math.abs(b.recovered.value - base) - Math.abs(a.recovered.value - base)).slice(0, 8);
  const name = (one: Place) => (one.head === null ? one.site : `${one.site}/h${one.head}`);
  const where = (one: Place) => (one.position === null ? "all" : `${one.position} ${spaced(report.positions[one.position]?.text ?? "")}`);
  const id = `lab-trace-${point}`;
  return (
    <section className="lab-card" aria-labelledby={`${id}-title`} data-testid={id}>
      <h2 id={`${id}-title`}>{title}</h2>
      <HeatMap name={title} rows={layers.map(String)} columns={columns} most={1} both first={foremost(layers.length, keys.length, distance)}
        across={byHead ? "heads" : "tokens of the first item"} up="Up: layers, the first at the bottom" testid={`${id}-map`}
        pictures={[{ title: `from the other run: ${does}`, value }, { title: "control: from a stranger", value: (r, c) => cell(r, c)?.control?.value ?? null }]}
        words={(row, column) => {
          const one = cell(row, column);
          if (!one) return <span className="faint">Nothing is patched there.</span>;
          return <><code>{name(one)}</code>{one.position !== null && <> at <b>{where(one)}</b></>} {does} <b className="num">{two(one.recovered.value)}</b> <span className="faint">({two(one.recovered.low)} to {two(one.recovered.high)}); a stranger’s value: {ends(one.control)}</span></>;
        }} />
      <details className="lab-details" open>
        <summary>The foremost places</summary>
        <div className="lab-scroll" tabIndex={0} role="group" aria-label={`The foremost places: ${title}`}>
          <table className="lab-table">
            <thead><tr><th scope="col">place</th>{!byHead && <th scope="col">token</th>}<th scope="col" className="num">{does}</th><th scope="col" className="num">95% interval</th><th scope="col" className="num">a stranger’s</th></tr></thead>
            <tbody>{order.map((one) => <tr key={`${name(one)} ${one.position}`}><th scope="row"><code>{name(one)}</code></th>{!byHead && <td>{where(one)}</td>}<td className="num">{two(one.recovered.value)}</td><td className="num faint">{two(one.recovered.low)} to {two(one.recovered.high)}</td><td className="num">{two(one.control?.value)}</td></tr>)}</tbody>
          </table>
        </div>
      </details>
    </section>
  );
}
