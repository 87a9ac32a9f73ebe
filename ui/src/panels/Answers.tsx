import { IconButton } from "../components/IconButton";
import { RunSwitch } from "../components/RunSwitch";
import type { Heat } from "../logic/heat";
import { differenceSentence, firstDifference } from "../logic/diff";
import { dropSteered, regenerate, runSteered } from "../state/answering";
import { finished, type Turn, usePage } from "../state/page";
import { Answer } from "./Answer";
import { BranchSwitch } from "./BranchSwitch";
import { DiffCard } from "./DiffCard";

/** The answer, or the plain and the steered one side by side. */
export function Answers({ turn, heat }: { turn: Turn; heat: Heat | null }) {
  const { plain, steered } = turn.runs!;
  const steering = usePage((s) => s.specs.some((listed) => listed.on));
  if (!plain) return null;
  const both = steered !== null;
  const difference = both && finished(plain) && finished(steered) ? firstDifference(plain.generated, steered.generated) : null;
  const busy = plain.state === "waiting" || plain.state === "streaming";
  return (
    <section className="answers-block" aria-label="Answer">
      <header className="answers-head">
        <span className="bubble-role">Model</span>
        <BranchSwitch turn={turn} />
        <RunSwitch />
        <span className="spacer" />
        {steering && !both && !busy && (
          <button type="button" className="button small" data-testid="run-steered" onClick={() => void runSteered(turn.id)}>Run steered</button>
        )}
        {both && <IconButton icon="close" label="Put the steered answer away" className="quiet" onClick={() => dropSteered(turn.id)} />}
        <IconButton icon="redo" label={plain.sampling.temperature > 0 ? "Answer again with the next seed" : "Answer again (at temperature 0 it will be the same)"}
          className="quiet" data-testid="regenerate" disabled={busy} onClick={() => void regenerate(turn.id)} />
      </header>
      <div className={`answers${both ? " two" : ""}`}>
        <Answer run={plain} name="plain" labelled={both} heat={heat} differsAt={difference} />
        {steered && <Answer run={steered} name="steered" labelled heat={heat} differsAt={difference} />}
      </div>
      {both && finished(plain) && finished(steered) && (
        <DiffCard sentence={differenceSentence(plain.generated, steered.generated)} steered={steered} />
      )}
    </section>
  );
}
