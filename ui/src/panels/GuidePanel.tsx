import { useQuery } from "@tanstack/react-query";
import { stories as fetchStories } from "../api/calls";
import { Panel } from "../components/Panel";
import { advise } from "../logic/guide";
import { quoted } from "../logic/tokens";
import { guideAction } from "../state/guiding";
import { finished, page, useCurrent, usePage } from "../state/page";
import { useClusters, useStatus } from "../state/queries";
import { GuideQuestion } from "./GuideQuestion";
import { StorySteps } from "./StorySteps";

/** What to do next, and the story that is being told. */
export function GuidePanel() {
  const { turn, plain, steered, name } = useCurrent();
  const { data: status } = useStatus();
  const target = usePage((s) => s.target), foil = usePage((s) => s.foil), checked = usePage((s) => s.checked);
  const specs = usePage((s) => s.specs), shared = usePage((s) => s.shared), told = usePage((s) => s.story);
  const { query: explained } = useClusters();
  const list = useQuery({ queryKey: ["stories"], queryFn: ({ signal }) => fetchStories(signal) });
  const story = told && list.data?.find((one) => one.id === told.id);
  const on = specs.filter((listed) => listed.on).length;
  const busy = (run: typeof plain) => run?.state === "waiting" || run?.state === "streaming";
  const advice = advise({
    hasAtlas: status?.atlas != null, llm: status?.llm ?? false, asked: turn !== null, answering: busy(plain) || busy(steered),
    answered: finished(plain), target: target ? quoted(target.token.text) : null, foil: foil ? quoted(foil.text) : null,
    explaining: explained.isFetching, explained: explained.data !== undefined, clusters: explained.data?.clusters.length ?? 0, checked: checked !== null, held: checked?.holds ?? null,
    steeringOn: on, steeringOff: specs.length - on, steered: finished(steered), viewing: name, shared: shared !== null && shared.of === turn?.id,
  });
  const shows = [
    `Next step suggested: ${advice.title}. ${advice.text}`,
    plain && `The plain answer: ${plain.text}`,
    steered && `The steered answer: ${steered.text}`,
    target && `Explained word: ${quoted(target.token.text)}`,
    ...(explained.data?.clusters.slice(0, 12).map((c) => `Cluster "${c.label}": ${c.members.length} units, effect ${c.effect.toFixed(2)}`) ?? []),
    ...specs.map((listed) => `Steering "${listed.spec.name}": ${listed.on ? "on" : "off"}`),
  ].filter(Boolean).join("\n");
  return (
    <Panel name="guide" title="Guide" testid="guide">
      <div className="guide-scroll">
        <div className="advice" aria-live="polite">
          <p className="overline">Next</p>
          <h3 data-testid="advice">{advice.title}</h3>
          <p>{advice.text}</p>
          <div className="stack">
            {advice.actions.map((action, i) => (
              <button key={action.do} type="button" className={`button${i === 0 ? " primary" : ""}`} data-testid={`guide-${action.do}`} onClick={() => guideAction(action.do)}>{action.label}</button>
            ))}
          </div>
        </div>
        {status?.llm && <GuideQuestion shows={shows} />}
        {story ? <StorySteps story={story} onClose={() => page.set({ story: null })} /> : (
          <div className="guide-stories">
            <p className="overline">Stories</p>
            <ul>
              {list.data?.map((one) => <li key={one.id}><button type="button" className="link" onClick={() => page.set({ story: { id: one.id, step: 0 } })}>{one.title}</button></li>)}
            </ul>
            <a href="#/stories">All stories, and what this model shows</a>
          </div>
        )}
      </div>
    </Panel>
  );
}
