// How often latents are active, and how far their words can be believed. What stands out can be chosen.
import { useMemo } from "react";
import type { DictionaryAtlas, LatentsReply } from "../../api/dictionary";
import { ticks } from "../../logic/chart";
import { percent, two } from "../../logic/format";
import { type Bar, bars, decades } from "../../logic/latents";
import { select } from "../../state/dictionary";
import { Bars } from "./Bars";

const DECADE = 0.25, R = 0.05;
const share = (log: number) => percent(10 ** log);

export function Distributions({ atlas, data }: { atlas: DictionaryAtlas; data: LatentsReply }) {
  const logs = useMemo(() => decades(data), [data]);
  const density = useMemo(() => bars(logs, DECADE), [logs]);
  const [score, nulls] = useMemo(() => [data.score, data.null].map((values) => bars(values.flatMap((r) => r ?? []), R)) as [Bar[], Bar[]], [data]);
  const range = (values: (number | null)[], bar: Bar) => values.flatMap((value, i) => (value !== null && value >= bar.low - 1e-9 && value < bar.high - 1e-9 ? [i] : []));
  const pick = (holds: (log: number) => boolean, by: string) => select(logs.flatMap((log, i) => (holds(log) ? [i] : [])), by);
  const few = Math.log10(atlas.ultra_low_share), first = Math.ceil(density[0]?.low ?? 0), last = Math.max(first, Math.floor(density.at(-1)?.high ?? 0));
  const known = data.score.filter((r) => r !== null).length;
  return (
    <div className="dictionary-spread" data-testid="dictionary-spread">
      <section aria-labelledby="spread-density">
        <h2 id="spread-density">How often they are active</h2>
        {density.length === 0 ? <p className="faint">No latent was active.</p>
          : <Bars testid="dictionary-density" name="Histogram of the share of tokens on which a latent is active" bars={density} ticks={Array.from({ length: last - first + 1 }, (_, i) => first + i)} tick={share}
            words={(bar) => `${share(bar.low)} to ${share(bar.high)} of tokens: ${bar.count.toLocaleString("en-GB")} latents`} onPick={(bar) => select(range(logs, bar), `active on ${share(bar.low)} to ${share(bar.high)}`)} />}
        <p className="spread-words">
          <Count n={atlas.dead} what="dead" testid="dictionary-dead" title={`Never active on ${atlas.tokens.toLocaleString("en-GB")} tokens`} onPick={() => pick((log) => log === -Infinity, "dead")} />
          <Count n={atlas.ultra_low} what="ultra-low" testid="dictionary-ultra-low" title={`Active, on fewer than ${percent(atlas.ultra_low_share)} of tokens`} onPick={() => pick((log) => log !== -Infinity && log < few, "ultra-low")} />
          <Count n={atlas.dense} what="dense" testid="dictionary-dense" title="Active on more than 10% of tokens" onPick={() => pick((log) => log > -1, "dense")} />
          <span className="faint">of {data.active.length.toLocaleString("en-GB")}; share of {atlas.tokens.toLocaleString("en-GB")} tokens with a value above 0</span>
        </p>
      </section>
      <section aria-labelledby="spread-score">
        <h2 id="spread-score">How well words tell them</h2>
        {known === 0 ? <p className="faint">No description has been scored on held-out text yet.</p> : (
          <>
            <Bars testid="dictionary-scores" name="Histogram of held-out scores of descriptions, and of their null" bars={score} over={nulls} ticks={ticks(Math.min(0, score[0]?.low ?? 0, nulls[0]?.low ?? 0), 1, 6)} tick={(r) => two(r)}
              words={(bar) => `r ${two(bar.low)} to ${two(bar.high)}: ${bar.count.toLocaleString("en-GB")} latents`} onPick={(bar) => select(range(data.score, bar), `r from ${two(bar.low)} to ${two(bar.high)}`)} />
            <p className="spread-words">
              <span className="key"><span className="key-bar" aria-hidden="true" />own words: median r <b className="num">{two(atlas.median)}</b></span>
              <span className="key"><span className="key-line" aria-hidden="true" />another latent’s words (null): <b className="num">{two(atlas.median_null)}</b></span>
              <span className="faint">{percent(atlas.above_null / Math.max(1, atlas.scored))} of {atlas.scored.toLocaleString("en-GB")} above their null, on held-out text</span>
            </p>
          </>
        )}
      </section>
    </div>
  );
}

function Count({ n, what, title, onPick, testid }: { n: number; what: string; title: string; onPick: () => void; testid: string }) {
  return <button type="button" className="spread-count" title={`${title}. Click to list them.`} data-testid={testid} disabled={n === 0} onClick={onPick}><b className="num">{n.toLocaleString("en-GB")}</b> {what}</button>;
}
