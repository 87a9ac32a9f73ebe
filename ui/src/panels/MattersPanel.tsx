import { useEffect, useMemo, useRef } from "react";
import { Panel } from "../components/Panel";
import { Empty, Failure } from "../components/States";
import { Working } from "../components/Working";
import { count, percent, signed } from "../logic/format";
import { spaced } from "../logic/tokens";
import { chooseFoil, clearChoice, shine } from "../state/choosing";
import { finished, useCurrent, usePage } from "../state/page";
import { useClusters, useStatus } from "../state/queries";
import { AtlasHelp } from "./AtlasHelp";
import { ClusterCard } from "./ClusterCard";
import { FoilPicker } from "./FoilPicker";

export function MattersPanel() {
  const { run } = useCurrent();
  const { data: status } = useStatus();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), range = usePage((s) => s.range);
  const { query: explained, name } = useClusters();
  const reply = explained.data;
  const clusters = useMemo(() => reply?.clusters ?? [], [reply]);
  const most = useMemo(() => clusters.reduce((max, cluster) => Math.max(max, Math.abs(cluster.effect)), 0), [clusters]);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => { box.current?.scrollTo({ top: 0 }); }, [target, foil]);
  return (
    <Panel name="matters" title="What matters here" badge>
      {!finished(run) ? (
        <Empty title="Nothing asked yet">When the model has answered, choose one of its words. What led to it appears here, grouped by meaning.</Empty>
      ) : !target ? (
        <Empty title="No token chosen">Click a token of the answer, or move to it with the arrow keys and press Enter. Then this panel says what made the model say it.</Empty>
      ) : (
        <>
          <div className="question" data-testid="question">
            <p className="question-line">
              Why <span className="chip-token is-target">{spaced(target.token.text)}</span>
              {foil && <> and not <span className="chip-token is-foil">{spaced(foil.text)}</span></>}?
              {foil && <button type="button" className="link" onClick={() => chooseFoil(null)}>drop the foil</button>}
            </p>
            <div className="row wrap small-row">
              {reply && <span className="faint">probability <b className="num">{percent(reply.metric.probability)}</b>, {foil ? "logit ahead of the foil" : "logit above the mean"} <b className="num">{signed(reply.metric.value)}</b></span>}
              <FoilPicker run={run} target={target} foil={foil} />
              <button type="button" className="link" data-testid="clear-choice" onClick={clearChoice}>clear</button>
            </div>
            {range && <p className="faint">Only effects at tokens {range[0]} to {range[1] - 1} are counted.</p>}
          </div>
          {explained.isError ? <Failure error={explained.error} again={() => void explained.refetch()} />
            : !reply ? <Working what="Finding what led to this token…" tokens={target.at} asked={name} rows={6} />
              : clusters.length > 0 ? (
                <div className="clusters" ref={box} onMouseLeave={() => shine(null)}>
                  {clusters.map((cluster, i) => <ClusterCard key={`${cluster.label}/${i}`} cluster={cluster} index={i} most={most} reply={reply} run={run} />)}
                  <p className="faint foot-note">{count(reply.looked_at, "unit")} looked at, {reply.described.toLocaleString("en-GB")} of them described. Blue promotes the word, orange hatched suppresses it.</p>
                </div>
              ) : status && !status.atlas ? <AtlasHelp />
                : <Empty title="No clusters">Of {count(reply.looked_at, "unit")} that mattered, no three with good descriptions mean alike ({reply.described} described). The units themselves are in the Units panel.</Empty>}
        </>
      )}
    </Panel>
  );
}
