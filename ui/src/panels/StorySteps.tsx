import { useState } from "react";
import type { Story, StoryAction } from "../api/types";
import { IconButton } from "../components/IconButton";
import { storyAction } from "../state/guiding";
import { page, usePage } from "../state/page";
import { StoryGate } from "./StoryGate";

const LABELS: Record<StoryAction["do"], string> = {
  ask: "Ask it", explain: "Explain", activations: "Show what is active", steer: "Steer", open_clusters: "Open the clusters", lens: "Open the lens", lab: "Run it in the Lab",
};

/** A story step by step, each done by a button. */
export function StorySteps({ story, onClose }: { story: Story; onClose: () => void }) {
  const step = usePage((s) => (s.story?.id === story.id ? s.story.step : 0));
  const [running, setRunning] = useState<number | null>(null);
  const go = async (i: number, action: StoryAction) => {
    setRunning(i);
    if (action.do !== "lab" && location.hash !== "#/" && location.hash !== "") location.hash = "#/";
    await storyAction(story, action);
    setRunning(null);
    page.set({ story: { id: story.id, step: Math.max(step, i + 1) } });
  };
  return (
    <section className="story-steps" data-testid={`story-steps-${story.id}`} aria-label={story.title}>
      <header><h3>{story.title}</h3><IconButton icon="close" label="Leave the story" className="quiet tiny" onClick={onClose} /></header>
      <p className="faint">{story.about}</p>
      <StoryGate id={story.id} />
      <ol>
        {story.steps.map((one, i) => (
          <li key={i} className={i < step ? "is-done" : i === step ? "is-next" : ""}>
            <p className="step-title">{one.title}</p>
            <p>{one.text}</p>
            {one.action && (
              <button type="button" className={`button small${i === step ? " primary" : ""}`} data-testid={`story-step-${i}`} disabled={running !== null} onClick={() => void go(i, one.action!)}>
                {running === i ? "Running…" : one.action.do === "explain" ? `Explain “${one.action.token.trim()}”` : LABELS[one.action.do]}
              </button>
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}
