// The story that is being told, above the laboratory: what its last step is about, and the next one's button.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { stories as fetchStories } from "../../api/calls";
import { IconButton } from "../../components/IconButton";
import { storyAction } from "../../state/guiding";
import { page, usePage } from "../../state/page";

export function StoryStrip() {
  const told = usePage((s) => s.story);
  const [running, setRunning] = useState(false);
  const list = useQuery({ queryKey: ["stories"], queryFn: ({ signal }) => fetchStories(signal), enabled: told !== null });
  const story = told && list.data?.find((one) => one.id === told.id);
  if (!story) return null;
  const now = story.steps[Math.max(0, told.step - 1)]!, next = story.steps[told.step];
  const go = async () => {
    setRunning(true);
    if (next?.action) {
      if (next.action.do !== "lab") location.hash = "#/";
      await storyAction(story, next.action);
    }
    setRunning(false);
    page.set({ story: { id: story.id, step: told.step + 1 } });
  };
  return (
    <aside className="lab-story" aria-label={`Story: ${story.title}`} data-testid="lab-story">
      <div className="row"><p className="overline">Story: {story.title} · step {Math.max(1, told.step)} of {story.steps.length}</p><span className="spacer" /><IconButton icon="close" label="Leave the story" className="quiet tiny" onClick={() => page.set({ story: null })} /></div>
      <p className="step-title">{now.title}</p>
      <p>{now.text}</p>
      <div className="row wrap">
        {next && <button type="button" className="button small primary" data-testid="lab-story-next" disabled={running} onClick={() => void go()}>Next: {next.title}</button>}
        <a className="link" href="#/">All steps</a>
      </div>
    </aside>
  );
}
