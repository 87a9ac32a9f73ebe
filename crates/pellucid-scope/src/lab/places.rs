//! As `shape.rs`: the shapes of reports over layers, positions and heads.

use super::shape::IntervalShape;
use pellucid_interp::patchscope::At;
use pellucid_interp::trace::Direction;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a lens makes of all items at one depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LensWins)]
pub struct WinsShape {
    /// Where.
    pub site: String,
    /// Share of items whose right answer stands above the wrong one.
    pub above_wrong: IntervalShape,
    /// Share of items whose right answer is the likeliest of all tokens.
    pub top: IntervalShape,
    /// Control: share of items at which another item's right answer is the likeliest; none where all answers are the same.
    pub stranger_top: Option<IntervalShape>,
    /// Mean log-odds of right against wrong.
    pub log_odds: IntervalShape,
    /// Mean entropy of what the lens says, in nats.
    pub entropy: IntervalShape,
    /// Median rank of the best right answer.
    pub median_rank: usize,
}

/// Where an item's answer wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LensWinsAt)]
pub struct WinsAtShape {
    /// The item's number.
    pub item: usize,
    /// From here on to the end its right answer is the likeliest token; none if it is not at the end.
    pub site: Option<String>,
}

/// Which run is changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TraceDirection)]
pub enum TraceDirectionShape {
    /// Clean values go into the corrupted run.
    #[default]
    Denoise,
    /// Corrupted values go into the clean run.
    Noise,
}

impl From<TraceDirectionShape> for Direction {
    fn from(shape: TraceDirectionShape) -> Self {
        match shape {
            TraceDirectionShape::Denoise => Direction::Denoise,
            TraceDirectionShape::Noise => Direction::Noise,
        }
    }
}

/// One patch, and what it recovered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TraceCell)]
pub struct TraceCellShape {
    /// Where; the middle of a window of layers.
    pub site: String,
    /// Which head; none is the whole vector.
    pub head: Option<usize>,
    /// Which position; none is all of them.
    pub position: Option<usize>,
    /// 0 is the corrupted run's log-odds, 1 the clean run's.
    pub recovered: IntervalShape,
    /// The same with a stranger's value; none where the items have no strangers.
    pub control: Option<IntervalShape>,
}

/// What one sender does to the receivers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PathEffect)]
pub struct PathEffectShape {
    /// The sender.
    pub site: String,
    /// Its head; none is the whole vector.
    pub head: Option<usize>,
    /// 0 is the corrupted run's log-odds, 1 the clean run's.
    pub recovered: IntervalShape,
    /// The same with a stranger's value at the sender.
    pub control: Option<IntervalShape>,
}

/// What cutting one edge of attention did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KnockedOut)]
pub struct KnockedOutShape {
    /// The first layer of the window.
    pub layer: usize,
    /// The key's position.
    pub key: usize,
    /// Change of the log-odds of right against wrong.
    pub change: IntervalShape,
    /// Share of right answers with the edge cut.
    pub accuracy: IntervalShape,
    /// Change with a random other edge cut; none where there is no other.
    pub control: Option<IntervalShape>,
}

/// Which token of an item gives the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PatchFrom)]
pub enum AtShape {
    /// The last one.
    #[default]
    Last,
    /// The last one in which the item differs from its counterfactual.
    Subject,
}

impl From<AtShape> for At {
    fn from(shape: AtShape) -> Self {
        match shape {
            AtShape::Last => At::Last,
            AtShape::Subject => At::Subject,
        }
    }
}

/// What one reading says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LadderSaid)]
pub struct SaidShape {
    /// The likeliest token.
    pub top: u32,
    /// Its probability.
    pub top_probability: f64,
    /// Probability of the followed token.
    pub probability: f64,
    /// Its rank, 1 for the likeliest.
    pub rank: usize,
}

/// One depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LadderRung)]
pub struct RungShape {
    /// Where the value stands.
    pub site: String,
    /// By the logit lens.
    pub logit: SaidShape,
    /// By a fitted lens; none without one, or where it has no map.
    pub fitted: Option<SaidShape>,
    /// By the identity prompt, at the same depth.
    pub patchscope: SaidShape,
    /// Put back some layers earlier in its own text; none where there are not so many.
    pub back: Option<SaidShape>,
}

/// One token at every depth, and the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Ladder)]
pub struct LadderShape {
    /// The followed token.
    pub watched: u32,
    /// How many layers back.
    pub back_by: usize,
    /// What the identity prompt says with nothing put into it.
    pub unpatched: SaidShape,
    /// First depth first.
    pub rungs: Vec<RungShape>,
}

/// One pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PatchCell)]
pub struct PatchCellShape {
    /// Where values come from.
    pub source: String,
    /// Where they go.
    pub target: String,
    /// Share of items whose right answer is then the likeliest of all tokens.
    pub right: IntervalShape,
    /// The same with another item's value.
    pub control: f64,
}

/// A behaviour at every pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PatchGrid)]
pub struct PatchGridShape {
    /// Items that were asked.
    pub items: usize,
    /// Share that the model answers at the end of its own prompt.
    pub plain: IntervalShape,
    /// Share that the target answers with the subject's words in the place; none where values come from the last token.
    pub direct: Option<IntervalShape>,
    /// Share that the target answers as it is.
    pub unpatched: IntervalShape,
    /// All pairs.
    pub cells: Vec<PatchCellShape>,
}

/// One pair of depths of a text's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackCell)]
pub struct BackCellShape {
    /// Where the value comes from.
    pub source: String,
    /// Where it is put.
    pub target: String,
    /// Share of items whose right answer is then the likeliest token.
    pub right: IntervalShape,
    /// Of the items that were wrong before, the share that is right.
    pub corrected: IntervalShape,
    /// Of those that were right, the share that stays so.
    pub kept: IntervalShape,
    /// Of the items that were wrong before, the share that another item's value makes right.
    pub control: f64,
}

/// Back-patching at every pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BackGrid)]
pub struct BackGridShape {
    /// Items that were asked.
    pub items: usize,
    /// Share that the model answers as it is.
    pub plain: IntervalShape,
    /// Share of the items that were wrong before that some pair of depths makes right.
    pub some_pair: IntervalShape,
    /// The same with another item's value, which has as many pairs to try.
    pub some_pair_control: IntervalShape,
    /// All pairs.
    pub cells: Vec<BackCellShape>,
}

/// How a function vector was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FunctionSettings)]
pub struct FunctionSettingsShape {
    /// Examples before a question.
    pub shots: usize,
    /// Prompts that each head's mean is taken over.
    pub means: usize,
    /// Prompts with shuffled answers that each head's effect is taken over.
    pub trials: usize,
    /// Heads whose means are summed.
    pub heads: usize,
}

/// What a head's mean does behind shuffled examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HeadEffect)]
pub struct HeadEffectShape {
    /// Layer.
    pub layer: usize,
    /// Head.
    pub head: usize,
    /// Mean change of the right answer's probability.
    pub effect: f64,
}

/// Questions with a vector added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = FunctionTried)]
pub struct TriedShape {
    /// The layer whose `resid_post` it was added to, at the last token.
    pub layer: usize,
    /// How many times.
    pub strength: f32,
    /// Share of questions whose likeliest next token is the answer.
    pub accuracy: IntervalShape,
}
