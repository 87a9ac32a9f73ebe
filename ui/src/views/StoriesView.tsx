import { useQuery } from "@tanstack/react-query";
import { stories as fetchStories } from "../api/calls";
import { Empty, Failure, Loading } from "../components/States";
import { StoryGate } from "../panels/StoryGate";
import { page } from "../state/page";

export function StoriesView() {
  const list = useQuery({ queryKey: ["stories"], queryFn: ({ signal }) => fetchStories(signal) });
  const begin = (id: string) => { page.set({ story: { id, step: 0 }, panel: "guide", guideOpen: true }); location.hash = "#/"; };
  return (
    <main className="page-view" data-testid="stories-view">
      <header className="view-head"><h1>Stories</h1><p className="faint lead">A behaviour, what causes it, and what happens when the cause is changed. Not every model shows each: ask first.</p></header>
      {list.isError ? <Failure error={list.error} again={() => void list.refetch()} /> : !list.data ? <Loading what="Reading the stories…" />
        : list.data.length === 0 ? <Empty title="There are no stories for this model" /> : (
          <ul className="stories">
            {list.data.map((story) => (
              <li key={story.id} className="story" data-testid={`story-${story.id}`}>
                <h2>{story.title}</h2>
                <p>{story.about}</p>
                <blockquote>{story.prompt ?? story.messages?.findLast((message) => message.role === "user")?.content}</blockquote>
                <StoryGate id={story.id} />
                <div className="row"><button type="button" className="button primary" data-testid={`story-begin-${story.id}`} onClick={() => begin(story.id)}>Begin</button>
                  <span className="faint">{story.steps.length} steps{story.from === "monitor" ? " · after Transluce's Monitor" : ""}</span></div>
              </li>
            ))}
          </ul>
        )}
    </main>
  );
}
