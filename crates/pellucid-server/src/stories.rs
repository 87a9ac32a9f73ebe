//! Guided stories: what to ask, where to look, what to conclude; and whether this model shows the behaviour at all, which
//! is measured before it is explained.

use pellucid_scope::{Message, Steering};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use utoipa::ToSchema;

/// A story.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Story {
    pub(crate) id: String,
    title: String,
    /// One or two sentences.
    about: String,
    from: From,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    messages: Option<Vec<Message>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    prompt: Option<String>,
    max_tokens: usize,
    steps: Vec<StoryStep>,
    /// What the model must do for the story to hold.
    #[serde(skip_serializing)]
    #[schema(ignore)]
    pub(crate) gate: Gate,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoryStep {
    title: String,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    action: Option<StoryAction>,
}

/// Whose story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = StoryFrom)]
pub(crate) enum From {
    /// One of those that Transluce's Monitor came with.
    Monitor,
    /// One that our demonstration models show.
    Pellucid,
}

/// What a step does on the page.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum StoryAction {
    /// Asks the story's question.
    Ask,
    /// Explains the first token of the answer whose trimmed text is this.
    Explain { token: String },
    /// Shows what was active at these positions.
    Activations { from: usize, to: usize },
    /// Adds a steering.
    Steer { spec: Steering },
    /// Shows the clusters.
    OpenClusters,
    /// Shows the lens.
    Lens,
    /// Opens the laboratory with a method filled in, and starts it.
    Lab {
        method: StoryMethod,
        /// A built-in behaviour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        behaviour: Option<String>,
        /// How many of its items.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        items: Option<usize>,
        /// A built-in task, for a function vector.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        task: Option<String>,
        /// What tracing patches, as `POST /api/lab/trace` has it; the stream if none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        at: Option<String>,
        /// A text whose last token is read by a patchscope.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        text: Option<String>,
    },
}

/// A method of the laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoryMethod {
    Behaviour,
    Lens,
    Trace,
    Knockout,
    Patchscope,
    Neurons,
    Direction,
    Circuit,
    Function,
}

/// What is asked of a model, and what it must say.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gate {
    /// A built-in behaviour and how many of its items are asked; the probes do if none.
    #[serde(default)]
    pub(crate) behaviour: Option<(String, usize)>,
    #[serde(default)]
    pub(crate) probes: Vec<Probe>,
    /// How many of the probes must hold.
    #[serde(default)]
    pub(crate) need: usize,
    /// What is said where they do.
    pub(crate) shows: String,
    /// What is said where they do not.
    pub(crate) not: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Probe {
    /// A user's message, or with `plain` a text to go on from.
    pub(crate) ask: String,
    #[serde(default)]
    pub(crate) plain: bool,
    pub(crate) max_tokens: usize,
    /// The answer must hold one of these (case does not matter).
    #[serde(default)]
    pub(crate) says: Vec<String>,
    /// And none of these.
    #[serde(default)]
    pub(crate) says_not: Vec<String>,
    /// And begin with one of these, white space apart.
    #[serde(default)]
    pub(crate) begins: Vec<String>,
}

impl Probe {
    /// Whether an answer is what the story speaks of.
    pub(crate) fn holds(&self, answer: &str) -> bool {
        let answer = answer.to_lowercase();
        let has = |words: &[String]| words.iter().any(|w| answer.contains(&w.to_lowercase()));
        let begins =
            |words: &[String]| words.iter().any(|w| answer.trim_start().starts_with(&w.to_lowercase()));
        (self.says.is_empty() || has(&self.says))
            && !has(&self.says_not)
            && (self.begins.is_empty() || begins(&self.begins))
    }
}

/// All stories.
pub(crate) fn all() -> &'static [Story] {
    static ALL: OnceLock<Vec<Story>> = OnceLock::new();
    // the file is part of the program; a test reads it
    ALL.get_or_init(|| serde_json::from_str(include_str!("stories.json")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_scope::lab::{self, Subject};

    #[test]
    fn stories_are_whole() {
        let read: Vec<Story> = serde_json::from_str(include_str!("stories.json")).unwrap();
        assert_eq!(read.iter().filter(|s| s.from == From::Monitor).count(), 4);
        assert!(read.iter().filter(|s| s.from == From::Pellucid).count() >= 3);
        for story in &read {
            assert!(story.messages.is_some() != story.prompt.is_some(), "{}", story.id);
            assert!(!story.steps.is_empty(), "{}", story.id);
            let Gate { behaviour, probes, need, .. } = &story.gate;
            assert!(behaviour.is_some() == probes.is_empty(), "{}", story.id);
            match behaviour {
                Some((name, items)) => assert!(Subject::built_in(name, *items, 0).is_ok(), "{}", story.id),
                None => assert!(*need >= 1 && *need <= probes.len(), "{}", story.id),
            }
            story.steps.iter().filter_map(|s| s.action.as_ref()).for_each(|a| fits(&story.id, a));
        }
        let ids: std::collections::BTreeSet<&str> = read.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids.len(), read.len());
    }

    /// A step that opens the laboratory asks for what is there, and for no less than its method needs.
    fn fits(id: &str, action: &StoryAction) {
        let StoryAction::Lab { method, behaviour, items, task, at, text } = action else { return };
        let known = lab::built_in().unwrap();
        let behaviour = behaviour.as_ref().map(|b| known.iter().find(|k| k.name == b).expect(id));
        let points = ["resid_pre", "attn_out_post", "mlp_out_post", "z"];
        assert!(at.as_ref().is_none_or(|at| points.contains(&at.as_str())), "{id}");
        match method {
            StoryMethod::Function => {
                let tasks = lab::tasks().unwrap();
                assert!(tasks.iter().any(|t| task.as_deref() == Some(t.name)), "{id}");
            }
            StoryMethod::Patchscope => assert!(text.is_some(), "{id}"),
            StoryMethod::Direction => assert!(behaviour.is_some_and(|b| b.classes), "{id}"),
            _ => assert!(behaviour.is_some() && items.is_some_and(|n| (1..=64).contains(&n)), "{id}"),
        }
    }

    #[test]
    fn every_idea_has_its_story() {
        let ids: Vec<&str> = all().iter().map(|s| s.id.as_str()).collect();
        for id in ["neuron", "layers", "direction", "thinking", "circuit", "capital", "refusal"] {
            assert!(ids.contains(&id), "{id}");
        }
    }

    #[test]
    fn a_probe_holds_by_what_is_said_and_what_is_not() {
        let probe = Probe {
            ask: String::new(),
            plain: false,
            max_tokens: 1,
            says: vec!["9.11 is bigger".to_owned()],
            says_not: vec!["9.8 is bigger".to_owned()],
            begins: Vec::new(),
        };
        assert!(probe.holds("Of the two, 9.11 is Bigger."));
        assert!(!probe.holds("9.8 is bigger than 9.11, though some say 9.11 is bigger."));
        assert!(!probe.holds("They are equal."));
        let begins =
            Probe { says: Vec::new(), says_not: Vec::new(), begins: vec!["are".to_owned()], ..probe };
        assert!(begins.holds(" are on the table") && !begins.holds(" is on the table where they are"));
    }
}
