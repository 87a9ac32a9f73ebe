// Patchscopes: one token's value read at every layer, four ways and in words; or a behaviour at every pair of layers.
import type { LadderReply, PatchscopeReply, Said } from "../../api/labtypes";
import { count, percent, two } from "../../logic/format";
import { spaced } from "../../logic/tokens";
import { setForm, start } from "../../state/lab";
import { foremost, HeatMap } from "./HeatMap";

/** resid_pre.0 is the embedding; a resid_post is named by its layer. */
const depthName = (site: string) => (site.startsWith("resid_pre") ? "emb." : site.split(".")[1] ?? site);

export function LadderResult({ reply }: { reply: LadderReply }) {
  const { ladder, readings } = reply;
  const text = (id: number) => spaced(ladder.texts[String(id)] ?? "");
  const rungs = ladder.rungs.map((rung, i) => ({ ...rung, reading: readings.readings[i] })).reverse();
  const target = readings.target.map((token) => token.text).join("");
  const place = readings.target[readings.target_position]?.text ?? "";
  const cell = (said: Said | null) => said === null ? <td className="faint">–</td> : (
    <td className="lab-said" style={{ backgroundColor: `color-mix(in oklab, var(--plus) ${Math.round(said.probability * 45)}%, transparent)` }} title={`${text(said.top)}: ${percent(said.top_probability)}; ${text(ladder.watched)}: ${percent(said.probability)}, rank ${said.rank}`}>
      <b>{text(said.top)}</b> <span className="num">#{said.rank.toLocaleString("en-GB")}</span>
    </td>
  );
  const choose = (position: number) => { setForm({ position }); void start("patchscope"); };
  return (
    <section className="lab-card" aria-labelledby="lab-ladder-title" data-testid="lab-ladder">
      <h2 id="lab-ladder-title">One token’s value, layer by layer</h2>
      <p className="faint">Choose a token to read it:</p>
      <p className="tokens sample lab-choose">{ladder.prompt.map((token) => <button key={token.position} type="button" className="token" aria-pressed={token.position === ladder.position} data-testid={`lab-ladder-token-${token.position}`} onClick={() => choose(token.position)}>{token.text}</button>)}</p>
      <p className="faint">In each cell: the likeliest next token, and the rank of <b>{text(ladder.watched)}</b> (#1 is the likeliest; the deeper the blue, the more probable it is). <i>Logit lens</i>: read by the unembedding as if the model stopped there. <i>Identity</i>: put into a text that repeats what it is given. <i>Put back</i>: put {ladder.back_by} layers earlier into its own text, so that it gets those layers again. <i>In words</i>: what the model goes on with when the value stands in the place of “{place.trim()}” in “{target}”.</p>
      <div className="lab-scroll" tabIndex={0} role="group" aria-labelledby="lab-ladder-title">
        <table className="lab-table lab-ladder">
          <thead><tr><th scope="col">after layer</th><th scope="col">logit lens</th><th scope="col">identity</th><th scope="col">put back {ladder.back_by}</th><th scope="col">in words</th></tr></thead>
          <tbody>
            {rungs.map((rung) => <tr key={rung.site}><th scope="row" className="num">{depthName(rung.site) === "emb." ? "embedding" : depthName(rung.site)}</th>{cell(rung.logit)}{cell(rung.patchscope)}{cell(rung.back)}<td className="lab-goes-on">{rung.reading?.text || <span className="faint">(a line end)</span>}</td></tr>)}
          </tbody>
          <tfoot><tr data-testid="lab-ladder-control"><th scope="row">control: nothing put in</th><td className="faint">–</td>{cell(ladder.unpatched)}<td className="faint">–</td><td className="lab-goes-on">{readings.unpatched || <span className="faint">(a line end)</span>}</td></tr></tfoot>
        </table>
      </div>
    </section>
  );
}

export function PatchscopeResult({ reply }: { reply: PatchscopeReply }) {
  const back = reply.back, report = reply.report;
  const cells: { source: string; target: string; right: { value: number; low: number; high: number }; control: number; more: React.ReactNode }[] =
    report ? report.cells.map((one) => ({ ...one, more: null }))
      : (back?.cells ?? []).map((one) => ({ ...one, more: `; of those wrong before ${two(one.corrected.value)} are right, of those right ${two(one.kept.value)} stay so` }));
  const at = report ?? back;
  if (!at) return null;
  const depths = (pick: "source" | "target") => [...new Set(cells.map((one) => one[pick]))].sort((a, b) => (a.startsWith("resid_pre") ? -1 : Number(a.split(".")[1])) - (b.startsWith("resid_pre") ? -1 : Number(b.split(".")[1])));
  const sources = depths("source"), targets = depths("target");
  const found = new Map(cells.map((one) => [`${one.source} ${one.target}`, one]));
  const cell = (row: number, column: number) => found.get(`${sources[row]} ${targets[column]}`) ?? null;
  const value = (row: number, column: number) => cell(row, column)?.right.value ?? null;
  const token = at.from === "last" ? "each item’s last token" : "the last token in which each item differs from its counterfactual";
  return (
    <section className="lab-card" aria-labelledby="lab-patch-grid-title" data-testid="lab-patch-grid">
      <h2 id="lab-patch-grid-title">{report ? "From each layer, into each layer of a target text" : "From each layer, back into an earlier one of the same text"}</h2>
      {report && <p>The value of {token} is put into the place marked {"{}"} of the target; share of {count(at.items, "item")} whose right answer is then the likeliest token. At the end of its own prompt the model says {two(report.plain.value)} right, the target as it stands {two(report.unpatched.value)}{report.direct && <>, and with the subject’s words in the place {two(report.direct.value)} ({two(report.direct.low)} to {two(report.direct.high)})</>}.</p>}
      {report && <p className="lab-target"><span className="faint">The target:</span> <code>{report.target?.replaceAll("\n", " ⏎ ")}</code></p>}
      {back && <p data-testid="lab-back-words">The value of {token} is put back at an earlier layer, and the layers between run again. As it is the model answers {two(back.plain.value)} right. Of the {count(back.some_pair.n, "item")} that it does not, some pair of layers makes {two(back.some_pair.value)} right ({two(back.some_pair.low)} to {two(back.some_pair.high)}); another item’s value, which has as many pairs to try, {two(back.some_pair_control.value)}.</p>}
      <HeatMap name="Share of items that are answered right" rows={sources.map(depthName)} columns={targets.map((site) => ({ label: depthName(site), title: site }))} most={1} first={foremost(sources.length, targets.length, value)}
        across={report ? "the layer of the target that it is put after" : "the layer that it is put back after"} up="Up: the layer that the value comes from" testid="lab-patch-map"
        pictures={[{ title: "the item’s own value", value }, { title: report ? "control: another item’s value" : "control: another item’s value, on items wrong before", value: (r, c) => cell(r, c)?.control ?? null }]}
        words={(row, column) => {
          const one = cell(row, column);
          if (!one) return <span className="faint">Nothing is put there: a value is put back at an earlier layer.</span>;
          return <>From <code>{one.source}</code> into <code>{one.target}</code>: <b className="num">{two(one.right.value)}</b> right <span className="faint">({two(one.right.low)} to {two(one.right.high)}{one.more}); another item’s value {two(one.control)}</span></>;
        }} />
    </section>
  );
}
