// What to do next, from the page's state alone. Rules, first that fits; no language model.
export interface Situation {
  hasAtlas: boolean;
  llm: boolean;
  asked: boolean;
  answering: boolean;
  answered: boolean;
  target: string | null;
  foil: string | null;
  explaining: boolean; explained: boolean;
  clusters: number;
  checked: boolean;
  held: boolean | null;
  steeringOn: number;
  steeringOff: number;
  steered: boolean;
  viewing: "plain" | "steered";
  shared: boolean;
}

export type GuideAction =
  | "ask-example" | "explain-first" | "open-clusters" | "open-units" | "check-first" | "off-first" | "view-steered"
  | "open-steering" | "share" | "stories" | "lens" | "build-atlas" | "run-steered";

export interface Advice { title: string; text: string; actions: { label: string; do: GuideAction }[] }

export function advise(s: Situation): Advice {
  if (s.answering) {
    return {
      title: "The model is answering", actions: [],
      text: "Each box is one token. Point at one to see what else the model could have said there.",
    };
  }
  if (!s.asked || !s.answered) {
    return {
      title: "Ask something",
      text: "Type a question and send it. Or begin with a story: a behaviour, what causes it, and what happens when the cause is taken away.",
      actions: [{ label: "Ask an example", do: "ask-example" }, { label: "See the stories", do: "stories" }],
    };
  }
  if (s.steered && s.shared) {
    return {
      title: "Shared",
      text: "Whoever opens the link on the same model gets the same bytes, and is told so. Look deeper with the lens, or try another story.",
      actions: [{ label: "Open the lens", do: "lens" }, { label: "See the stories", do: "stories" }],
    };
  }
  if (s.steered) {
    return {
      title: "Two answers stand side by side",
      text: s.viewing === "plain"
        ? "Every panel now shows the plain run. Switch to the steered run: what you then see was computed with the change in place."
        : "Every panel now shows the steered run. “Changed units” lists what moved between the two. A link lets somebody else replay both.",
      actions: s.viewing === "plain"
        ? [{ label: "Look at the steered run", do: "view-steered" }, { label: "Share this run", do: "share" }]
        : [{ label: "Share this run", do: "share" }, { label: "Change the steering", do: "open-steering" }],
    };
  }
  if (s.steeringOn > 0) {
    return {
      title: "Steering is on",
      text: "Run it: the steered answer appears beside the plain one.",
      actions: [{ label: "Run the steered answer", do: "run-steered" }, { label: "Open steering", do: "open-steering" }],
    };
  }
  if (s.target === null) {
    return {
      title: "Choose a word",
      text: "Click a token of the answer to ask why the model said it. Shift-click another one (or choose “why not” in what appears when you point) to ask why this and not that.",
      actions: [{ label: "Explain the first word", do: "explain-first" }],
    };
  }
  if (s.explaining) {
    return { title: `Why ${s.target}?`, text: "One run forward and one backward find what pushed towards it.", actions: [] };
  }
  if (!s.explained) {
    return {
      title: "Not explained", actions: [],
      text: `The explanation of ${s.target} was stopped or did not work. Run it again in the panel beside, or choose another word.`,
    };
  }
  if (!s.hasAtlas) {
    return {
      title: "The units have no words yet",
      text: "You see which units mattered, but without an atlas nobody has described them, so there are no clusters. Building one reads a corpus once.",
      actions: [{ label: "Build an atlas", do: "build-atlas" }, { label: "Look at the units", do: "open-units" }],
    };
  }
  if (s.clusters === 0) {
    return {
      title: "No clusters here",
      text: "No three units that mattered for this token mean alike. Look at single units, or at another token.",
      actions: [{ label: "Look at the units", do: "open-units" }, { label: "Open the lens", do: "lens" }],
    };
  }
  if (!s.checked) {
    return {
      title: "Read the clusters, then check one",
      text: "Each card is a group of units that mean alike and mattered here. Does one not belong? Check it: take it out, and see whether random groups of the same size do as much.",
      actions: [{ label: "Check the first cluster", do: "check-first" }, { label: "Open the clusters", do: "open-clusters" }],
    };
  }
  return {
    title: s.held ? "The cause holds: turn it off" : "That one does not hold",
    text: s.held
      ? "Turn the cluster off and the model answers again without it, beside the plain answer."
      : "Taking it out does no more than chance. Try another cluster, or turn it off anyway and compare the answers.",
    actions: s.held
      ? [{ label: "Turn the first cluster off", do: "off-first" }]
      : [{ label: "Open the clusters", do: "open-clusters" }, { label: "Turn the first cluster off", do: "off-first" }],
  };
}
