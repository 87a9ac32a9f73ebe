import { useMemo } from "react";
import { TokenFlow } from "../components/TokenFlow";
import { TokenSegment } from "../components/TokenSegment";
import { Failure } from "../components/States";
import { count, seconds } from "../logic/format";
import type { Heat } from "../logic/heat";
import { allTokens, type Segment } from "../logic/tokens";
import { regenerate, runSteered } from "../state/answering";
import { type Run, type RunName, useCurrent, usePage } from "../state/page";

interface Props { run: Run; name: RunName; labelled: boolean; heat: Heat | null; differsAt: number | null }

const ENDED: Record<string, string> = {
  end_of_text: "ended by itself", stop_text: "met a stop text", length: "length limit", context_full: "context full", cancelled: "stopped",
};

export function Answer({ run, name, labelled, heat, differsAt }: Props) {
  const { turn, name: viewed, run: viewedRun } = useCurrent();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), range = usePage((s) => s.range);
  const tokens = useMemo(() => allTokens(run), [run]);
  const segment = useMemo((): Segment => ({ role: "generated", from: run.prompt.length, to: tokens.length, tokens: tokens.slice(run.prompt.length) }), [run, tokens]);
  const active = viewed === name && viewedRun?.key === run.key;
  const again = () => { if (turn) void (name === "plain" ? regenerate(turn.id) : runSteered(turn.id)); };
  return (
    <article className={`answer ${name}${active ? " is-active" : ""}`} data-testid={`answer-${name}`} data-state={run.state} data-answer="" aria-label={labelled ? (name === "plain" ? "Plain answer" : "Steered answer") : "Answer"}>
      {labelled && <header><span className={`run-badge ${name}`}>{name}</span></header>}
      {run.generated.length > 0 ? (
        <TokenFlow run={run} name={name} tokens={tokens} heat={heat} active={active} part="answer">
          <TokenSegment segment={segment} target={active ? target?.at ?? null : null} foilId={active ? foil?.id ?? null : null}
            range={active ? range : null} changedAt={differsAt === null ? null : run.prompt.length + differsAt} label={labelled ? `${name} answer` : "Answer"} />
        </TokenFlow>
      ) : run.state === "waiting" || run.state === "streaming" ? <p className="reading">{run.state === "waiting" ? "Waiting for the model…" : "Reading…"}</p>
        : run.state !== "failed" && <p className="faint">The model said nothing: it ended at once.</p>}
      {run.state === "failed" && <Failure title="No answer" error={run.error ?? "It is not known why."} again={again} />}
      {(run.state === "done" || run.state === "stopped") && (
        <footer className="answer-foot">
          {count(run.generated.length, "token")}{run.ended && ` · ${ENDED[run.ended] ?? run.ended}`}
          {run.ms > 0 && ` · ${seconds(run.ms)}`}{run.sampling.temperature > 0 && ` · seed ${run.sampling.seed}`}
        </footer>
      )}
      {(run.state === "waiting" || run.state === "streaming") && run.generated.length > 0 && <span className="caret" aria-hidden="true" />}
    </article>
  );
}
