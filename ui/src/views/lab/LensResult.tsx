// The lens over a behaviour: at which layers the answer stands above the wrong one, becomes the likeliest, and stays it.
import type { Interval, LensReport } from "../../api/labtypes";
import { count, number, signed, two } from "../../logic/format";
import { type Line, LineChart, type Look } from "./LineChart";

const X = "layers that have run (0: the embedding)";

export function LensResult({ report }: { report: LensReport }) {
  const { depths, wins_at } = report;
  const won = wins_at.flatMap((one) => (one.site === null ? [] : [depths.findIndex((depth) => depth.site === one.site)]));
  const median = depths.findIndex((depth) => depth.site === report.median_wins_at);
  const line = (name: string, look: Look, pick: (of: LensReport["depths"][number]) => Interval | null): Line => ({
    name, look, points: depths.flatMap((of, i): [number, number][] => { const at = pick(of); return at ? [[i, at.value]] : []; }),
    band: look === "plain" ? undefined : depths.flatMap((of, i): [number, number, number][] => { const at = pick(of); return at ? [[i, at.low, at.high]] : []; }),
  });
  const stays: Line = { name: "likeliest, and stays it", look: "third", points: depths.map((_, i) => [i, won.filter((at) => at <= i).length / wins_at.length]) };
  const lines = [line("above the wrong answer", "main", (of) => of.above_wrong), line("likeliest of all tokens", "second", (of) => of.top), stays, line("control: another item’s answer likeliest", "plain", (of) => of.stranger_top)];
  return (
    <section className="lab-card" aria-labelledby="lab-lens-title" data-testid="lab-lens">
      <h2 id="lab-lens-title">At which layers the answer wins</h2>
      <p data-testid="lab-lens-words">{median < 0 ? `Of ${count(wins_at.length, "right answer")} none is the likeliest token at the end.`
        : `${won.length} of ${count(wins_at.length, "right answer")} are the likeliest token at the end; half of them become it, and stay it, by layer ${median - 1} (of ${depths.length - 1} layers, counted from 0).`}</p>
      <p className="faint">Each depth is read at the last token by the model’s own final norm and unembedding (the logit lens), as if the model stopped there. What a layer cannot be read to say may still be in it.</p>
      <LineChart name="Share of items by depth" x={X} y="share of items; bands are 95% intervals" lines={lines.filter((one) => one.points.length > 0)} always={[0, 1]} within={[0, 1]} level={{ at: 0.5, text: "chance of standing above the wrong one" }} at={median < 0 ? null : median} height={260} testid="lab-lens-share" />
      <div className="lab-triple">
        <LineChart name="Median rank of the right answer by depth, logarithmic" x={X} y="median rank of the right answer" lines={[{ name: "rank", look: "main", points: depths.map((of, i) => [i, of.median_rank]) }]} logUp at={median < 0 ? null : median} testid="lab-lens-rank" />
        <LineChart name="Log-odds of right against wrong by depth" x={X} y="log-odds of right against wrong" lines={[line("log-odds", "main", (of) => of.log_odds)]} always={[0]} at={median < 0 ? null : median} testid="lab-lens-odds" />
        <LineChart name="Entropy of what each depth says" x={X} y="entropy of what it says, nats" lines={[line("entropy", "main", (of) => of.entropy)]} always={[0]} at={median < 0 ? null : median} testid="lab-lens-entropy" />
      </div>
      <details className="lab-details">
        <summary>The numbers</summary>
        <div className="lab-scroll" tabIndex={0} role="group" aria-label="The numbers of the curves">
          <table className="lab-table">
            <thead><tr><th scope="col">after</th><th scope="col" className="num">above wrong</th><th scope="col" className="num">interval</th><th scope="col" className="num">likeliest</th><th scope="col" className="num">interval</th><th scope="col" className="num">another item’s</th><th scope="col" className="num">median rank</th><th scope="col" className="num">log-odds</th><th scope="col" className="num">entropy</th></tr></thead>
            <tbody>{depths.map((of) => <tr key={of.site}><th scope="row"><code>{of.site}</code></th><td className="num">{two(of.above_wrong.value)}</td><td className="num faint">{two(of.above_wrong.low)} to {two(of.above_wrong.high)}</td><td className="num">{two(of.top.value)}</td><td className="num faint">{two(of.top.low)} to {two(of.top.high)}</td><td className="num">{two(of.stranger_top?.value)}</td><td className="num">{of.median_rank.toLocaleString("en-GB")}</td><td className="num">{signed(of.log_odds.value)}</td><td className="num">{number(of.entropy.value)}</td></tr>)}</tbody>
          </table>
        </div>
      </details>
    </section>
  );
}
