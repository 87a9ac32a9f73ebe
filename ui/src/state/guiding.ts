// What the guide's buttons and the stories' steps do.
import type { Status, Story, StoryAction } from "../api/types";
import { sentence } from "../api/http";
import { makeAtlas } from "../api/calls";
import { examples } from "../logic/examples";
import type { GuideAction } from "../logic/guide";
import { labAddress } from "../logic/route";
import { ask, runSteered, send } from "./answering";
import { chooseRange, chooseTarget, chooseWord, showPanel, showUnits, view } from "./choosing";
import { client } from "./client";
import { type Form, setForm, start } from "./lab";
import { current, defaultSampling, page } from "./page";
import { addSpec } from "./steering";

/** Presses a button that another panel owns, so that there is one way to do each thing. */
function press(testid: string): void {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`[data-testid="${testid}"]`)?.click());
}

export function guideAction(action: GuideAction): void {
  const { turn, run } = current(page.get());
  switch (action) {
    case "ask-example": showPanel("chat"); void send(examples(page.get().mode, client.getQueryData<Status>(["status"])?.model.layers)[0] ?? ""); break;
    case "explain-first": {
      // The first token that says something: not a lone space, quote or line end.
      const said = run?.generated.find((token) => /[\p{L}\p{N}]/u.test(token.text)) ?? run?.generated[0];
      if (said) chooseTarget(said.position, said);
      showPanel("matters");
      break;
    }
    case "open-clusters": showPanel("matters"); page.set({ openCluster: 0 }); break;
    case "open-units": showUnits("attribution"); break;
    case "check-first": showPanel("matters"); press("cluster-check-0"); break;
    case "off-first": showPanel("matters"); press("cluster-off-0"); break;
    case "view-steered": view("steered"); break;
    case "open-steering": showPanel("steering"); break;
    case "run-steered": if (turn) void runSteered(turn.id); showPanel("chat"); break;
    case "share": showPanel("chat"); press("share"); break;
    case "stories": location.hash = "#/stories"; break;
    case "lens": location.hash = "#/lens"; break;
    case "build-atlas": void makeAtlas(200_000).then(() => client.invalidateQueries({ queryKey: ["jobs"] }), (error: unknown) => page.set({ notice: sentence(error) })); break;
  }
}

export async function storyAction(story: Story, action: StoryAction): Promise<void> {
  try {
    switch (action.do) {
      case "ask": showPanel("chat"); await ask(story, { ...defaultSampling, max_tokens: story.max_tokens }); break;
      case "explain": {
        const failure = await chooseWord(action.token);
        if (failure) page.set({ notice: failure });
        else showPanel("matters");
        break;
      }
      case "activations": chooseRange([action.from, action.to]); page.set({ heat: "activation" }); showUnits("activation"); break;
      case "steer": addSpec(action.spec); showPanel("chat"); break;
      case "open_clusters": showPanel("matters"); page.set({ openCluster: 0 }); break;
      case "lens": location.hash = "#/lens"; break;
      case "lab": {
        const { method, behaviour, items, task, at, text } = action;
        setForm({ ...(behaviour && { source: behaviour, offTask: "" }), ...(items && { items }), ...(task && { task }), ...(method === "trace" && { at: (at ?? "resid_pre") as Form["at"], towards: "denoise", corrupt: "counterfactual", window: 1 }), ...(text && { into: "text", text, position: -1, target: "description" }) });
        location.hash = labAddress(method);
        // it goes on while its page is read
        void start(method);
        break;
      }
    }
  } catch (error) {
    page.set({ notice: sentence(error) });
  }
}
