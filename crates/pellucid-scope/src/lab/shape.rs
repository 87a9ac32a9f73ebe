//! The shapes of what `pellucid-interp` reports, for the OpenAPI document: it knows no JSON schema. A test reads every report
//! back through these types, so that they cannot drift apart.

use pellucid_interp::circuit::{Ablation, Choice, Scoring};
use pellucid_interp::direction::Method;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A number with its 95% interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Interval)]
pub struct IntervalShape {
    /// The share or mean.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many were counted.
    pub n: usize,
}

/// How well a model shows a behaviour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BehaviourGate)]
pub struct GateShape {
    /// The behaviour.
    pub behaviour: String,
    /// Share of items whose right answer stands above the wrong one.
    pub accuracy: IntervalShape,
    /// What guessing reaches.
    pub chance: f64,
    /// Mean log-odds of right against wrong.
    pub log_odds: IntervalShape,
    /// Whether the accuracy's interval lies above chance.
    pub shown: bool,
    /// Items that do not fit the tokenizer.
    pub left_out: usize,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BehaviourItem)]
pub struct ItemShape {
    /// What the model reads.
    pub prompt: String,
    /// A prompt that differs in what decides the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub counterfactual: Option<String>,
    /// Next tokens that are right.
    pub right: Vec<String>,
    /// Next tokens that are wrong.
    pub wrong: Vec<String>,
    /// Which of two kinds the item is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub class: Option<String>,
    /// Items of one group are never split between fitting and testing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub group: Option<String>,
    /// Whether the prompt is what a user says in a chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub chat: Option<bool>,
}

/// A rank correlation with its 95% interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Correlation)]
pub struct CorrelationShape {
    /// Spearman's ρ.
    pub rho: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of pairs.
    pub n: usize,
}

/// What a neuron is predicted to do to the log-odds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeuronEffect)]
pub struct EffectShape {
    /// The neuron.
    pub unit: String,
    /// Along the one path that goes to the logits directly.
    pub direct: f64,
    /// Along all paths, to first order.
    pub gradient: f64,
    /// Its mean activation.
    pub activation: f64,
}

/// The mean change of the log-odds under each replacement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeuronChanges)]
pub struct ChangesShape {
    /// By zero.
    pub zero: IntervalShape,
    /// By the mean.
    pub mean: IntervalShape,
    /// By the counterfactual's value; none where there is none.
    pub resample: Option<IntervalShape>,
    /// Accuracy under zero.
    pub accuracy: IntervalShape,
}

/// What replacing one neuron did, and a random one of its layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeuronMeasured)]
pub struct MeasuredShape {
    /// The neuron.
    pub unit: String,
    /// What it did to the behaviour.
    pub change: ChangesShape,
    /// What zero did to the other behaviour.
    pub off_task: IntervalShape,
    /// The random neuron.
    pub random: String,
    /// What it did.
    pub random_change: ChangesShape,
}

/// What replacing the foremost neurons together did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeuronGroup)]
pub struct GroupShape {
    /// How many.
    pub k: usize,
    /// What they did.
    pub change: ChangesShape,
    /// What zero did to the other behaviour.
    pub off_task: IntervalShape,
    /// What as many random neurons of the same layers did.
    pub random_change: ChangesShape,
}

/// The log-odds at one factor on a neuron's activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NeuronDose)]
pub struct DoseShape {
    /// The factor; 1 is the model as it is.
    pub factor: f32,
    /// Mean log-odds of right against wrong.
    pub log_odds: IntervalShape,
    /// The same for the items of each class.
    pub by_class: BTreeMap<String, f64>,
    /// Share of right answers.
    pub accuracy: IntervalShape,
}

/// A direction's three scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DirectionCandidate)]
pub struct CandidateShape {
    /// Token position from the end.
    pub position: i64,
    /// Layer.
    pub layer: usize,
    /// What is left of the behaviour under ablation.
    pub ablation: f64,
    /// How much of the other answer adding it brings about.
    pub steering: f64,
    /// Divergence on unrelated prompts under ablation, nats.
    pub kl: f64,
}

/// A direction, tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DirectionTested)]
pub struct TestedShape {
    /// Where it was found, from the end.
    pub position: i64,
    /// At which layer.
    pub layer: usize,
    /// Its length.
    pub length: f64,
    /// Accuracy on the items as the model is.
    pub before: IntervalShape,
    /// Log-odds of the same.
    pub log_odds_before: IntervalShape,
    /// What adding and ablating did.
    pub outcomes: Vec<DirectionOutcomeShape>,
}

/// What a direction did to held-out items, and to another behaviour's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DirectionOutcome)]
pub struct DirectionOutcomeShape {
    /// What was done.
    pub kind: DirectionKindShape,
    /// Whether with the random direction.
    pub random: bool,
    /// Share of items still right.
    pub accuracy: IntervalShape,
    /// Mean change of the log-odds.
    pub change: IntervalShape,
    /// The change of each item.
    pub changes: Vec<f64>,
    /// Share of items whose log-odds rose, though they should fall.
    pub wrong_way: IntervalShape,
    /// Divergence on the other behaviour's prompts, nats.
    pub off_task_kl: IntervalShape,
    /// Change of the loss on their tokens, nats a token.
    pub off_task_loss: IntervalShape,
}

/// A circuit of some size, measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CircuitMeasured)]
pub struct CircuitMeasuredShape {
    /// Edges kept.
    pub edges: usize,
    /// Of them, edges on a way from the input to the logits.
    pub alive: usize,
    /// Share of the behaviour kept; 1 is the whole model, 0 everything cut.
    pub faithfulness: f64,
    /// Mean log-odds.
    pub log_odds: IntervalShape,
    /// Share of right answers.
    pub accuracy: IntervalShape,
    /// Divergence from the whole model's next-token distribution, nats.
    pub kl: f64,
}

/// A circuit of one size beside its controls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CircuitPoint)]
pub struct CircuitPointShape {
    /// Share of all edges.
    pub fraction: f64,
    /// The circuit.
    pub circuit: CircuitMeasuredShape,
    /// Everything but the circuit.
    pub complement: CircuitMeasuredShape,
    /// As many random edges.
    pub random: CircuitMeasuredShape,
    /// The same edges on another behaviour.
    pub off_task: Option<CircuitMeasuredShape>,
}

/// Circuits of growing size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CircuitSkeleton)]
pub struct SkeletonShape {
    /// One for each size.
    pub points: Vec<CircuitPointShape>,
    /// Area below the faithfulness of the signed order (CPR of the MIB benchmark).
    pub cpr: f64,
    /// Area between the faithfulness of the order by size and 1 (its CMD).
    pub cmd: f64,
}

/// What is done with a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DirectionKind)]
pub enum DirectionKindShape {
    /// Added at its layer and position and every later one.
    Add,
    /// Ablated at every write, mean-centred, at all tokens but the first.
    Affine,
    /// Ablated at every write, raw, at all tokens.
    Raw,
}

/// What finds a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DirectionMethod)]
pub enum DirectionMethodShape {
    /// The difference of the classes' means.
    Mean,
    /// The mean of each item less its counterfactual.
    Pairs,
    /// The first principal component of those differences.
    Pca,
    /// The normal of a logistic regression.
    Logistic,
}

impl From<DirectionMethodShape> for Method {
    fn from(shape: DirectionMethodShape) -> Self {
        match shape {
            DirectionMethodShape::Mean => Method::Mean,
            DirectionMethodShape::Pairs => Method::Pairs,
            DirectionMethodShape::Pca => Method::Pca,
            DirectionMethodShape::Logistic => Method::Logistic,
        }
    }
}

/// What a cut edge carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CircuitAblation)]
pub enum AblationShape {
    /// What the writer adds in the counterfactual.
    Counterfactual,
    /// The writer's mean over the items.
    Mean,
    /// Nothing.
    Zero,
}

impl From<AblationShape> for Ablation {
    fn from(shape: AblationShape) -> Self {
        match shape {
            AblationShape::Counterfactual => Ablation::Counterfactual,
            AblationShape::Mean => Ablation::Mean,
            AblationShape::Zero => Ablation::Zero,
        }
    }
}

/// How edges are chosen by their scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CircuitChoice)]
pub enum ChoiceShape {
    /// The largest by size.
    Size,
    /// Those that help most.
    Signed,
    /// From the logits on, the largest into what is in the circuit.
    Greedy,
}

impl From<ChoiceShape> for Choice {
    fn from(shape: ChoiceShape) -> Self {
        match shape {
            ChoiceShape::Size => Choice::Size,
            ChoiceShape::Signed => Choice::Signed,
            ChoiceShape::Greedy => Choice::Greedy,
        }
    }
}

/// How edges are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CircuitScoring)]
pub enum ScoringShape {
    /// One gradient, at the items.
    Eap,
    /// Gradients on the way from what replaces the items' embeddings.
    EapIg {
        /// Points on the way.
        steps: usize,
    },
    /// Gradients on the way of each place alone: the input, each layer's heads, each MLP.
    EapIgActivations {
        /// Points on each way.
        steps: usize,
    },
    /// Gradients at both ends.
    CleanCorrupted,
    /// Each edge truly cut.
    Exact,
}

impl From<ScoringShape> for Scoring {
    fn from(shape: ScoringShape) -> Self {
        match shape {
            ScoringShape::Eap => Scoring::Eap,
            ScoringShape::EapIg { steps } => Scoring::EapIg { steps },
            ScoringShape::EapIgActivations { steps } => Scoring::EapIgActivations { steps },
            ScoringShape::CleanCorrupted => Scoring::CleanCorrupted,
            ScoringShape::Exact => Scoring::Exact,
        }
    }
}

/// What a circuit without an edge is worse by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PruningMeasure)]
pub enum MeasureShape {
    /// KL divergence from the whole model's next-token distribution, nats.
    Kl,
    /// Mean log-odds of right against wrong, lost.
    LogOdds,
}

/// A unit zeroed at one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GraphZeroedUnit)]
pub struct ZeroedShape {
    /// Which unit.
    pub unit: String,
    /// At which token.
    pub position: usize,
    /// What it was there.
    pub value: f64,
    /// The metric without it less the metric with it.
    pub change: f64,
}
