//! The shape of an edit on the wire, for the OpenAPI document: [`pellucid_core::Edit`] knows no JSON schema. A test reads
//! every kind of edit back through these types, so that they cannot drift apart.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One change to a run: `docs/edits.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Edit)]
pub struct EditShape {
    /// Where, such as `mlp_act.3`.
    pub site: String,
    /// Which part of the site; the whole if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub target: Option<TargetShape>,
    /// At which tokens; all if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub positions: Option<PositionsShape>,
    /// What is done there.
    pub op: OpShape,
}

/// Which part of a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Target)]
pub enum TargetShape {
    /// All of it.
    Whole,
    /// These coordinates.
    Units(Vec<u32>),
    /// These heads.
    Heads(Vec<u32>),
    /// These latents of a dictionary of the site.
    Latents {
        /// Its name.
        dictionary: String,
        /// Which latents.
        indices: Vec<u32>,
    },
    /// What a dictionary of the site does not explain.
    Error {
        /// Its name.
        dictionary: String,
    },
}

/// At which token positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Positions)]
pub enum PositionsShape {
    /// Every one.
    All,
    /// These; negative ones count from the end of the prompt.
    At(Vec<i64>),
    /// From the first to before the second, which may be open.
    Range((i64, Option<i64>)),
    /// Those that were written in this role.
    Role(RoleShape),
}

/// Who wrote a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Role)]
pub enum RoleShape {
    /// The system prompt.
    System,
    /// A user's turn.
    User,
    /// An earlier answer in the prompt.
    Assistant,
    /// What the model wrote in this run.
    Generated,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MessageRole)]
pub enum MessageRoleShape {
    /// The system prompt.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

/// A side of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Polarity)]
pub enum PolarityShape {
    /// Above.
    #[serde(rename = "+")]
    Positive,
    /// Below.
    #[serde(rename = "-")]
    Negative,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Op)]
pub enum OpShape {
    /// Set to 0.
    Zero,
    /// Set to means.
    Mean {
        /// One for each coordinate.
        values: Vec<f32>,
        /// What the mean was taken over.
        of: String,
    },
    /// Set to these values.
    Set(Vec<f32>),
    /// Multiplied.
    Scale(f32),
    /// Added to.
    Add(Vec<f32>),
    /// Kept between bounds.
    Clamp {
        /// Lower bound.
        #[schema(required)]
        min: Option<f32>,
        /// Upper bound.
        #[schema(required)]
        max: Option<f32>,
    },
    /// Rid of the component along a direction.
    ProjectOut {
        /// The direction.
        direction: Vec<f32>,
        /// Mean activation, for the affine form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        centre: Option<Vec<f32>>,
    },
    /// Replaced by these rows.
    Patch {
        /// One for each covered position.
        rows: Vec<Vec<f32>>,
    },
    /// Replaced by values of another run.
    PatchFrom {
        /// The other run's tokens.
        tokens: Vec<u32>,
        /// Positions there.
        from: PositionsShape,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::{Edit, Op, Positions, Role, Target};

    #[test]
    fn every_kind_of_edit_has_this_shape() {
        let dictionary = "d".to_owned();
        let targets = [
            Target::Whole,
            Target::Units(vec![1, 2]),
            Target::Heads(vec![0]),
            Target::Latents { dictionary: dictionary.clone(), indices: vec![3] },
            Target::Error { dictionary },
        ];
        let roles = [Role::System, Role::User, Role::Assistant, Role::Generated].map(Positions::Role);
        let positions = [
            Positions::All,
            Positions::At(vec![-1, 3]),
            Positions::Range(1, None),
            Positions::Range(1, Some(4)),
        ];
        let ops = [
            Op::Zero,
            Op::Mean { values: vec![1.0], of: "x".to_owned() },
            Op::Set(vec![1.0]),
            Op::Scale(0.5),
            Op::Add(vec![1.0]),
            Op::Clamp { min: None, max: Some(1.0) },
            Op::ProjectOut { direction: vec![1.0], centre: None },
            Op::ProjectOut { direction: vec![1.0], centre: Some(vec![2.0]) },
            Op::Patch { rows: vec![vec![1.0]] },
            Op::PatchFrom { tokens: vec![1], from: Positions::All },
        ];
        for op in &ops {
            for target in &targets {
                for positions in positions.iter().chain(&roles) {
                    let edit = Edit {
                        site: "z.3".parse().unwrap(),
                        target: target.clone(),
                        positions: positions.clone(),
                        op: op.clone(),
                    };
                    let wire = serde_json::to_value(&edit).unwrap();
                    let shape: EditShape = serde_json::from_value(wire.clone()).unwrap();
                    assert_eq!(serde_json::to_value(&shape).unwrap(), wire);
                    assert_eq!(serde_json::from_value::<Edit>(wire).unwrap(), edit);
                }
            }
        }
    }
    #[test]
    fn a_number_that_32_bits_cannot_hold_is_refused() {
        for op in [
            r#"{"set":[1e39]}"#,
            r#"{"scale":-1e39}"#,
            r#"{"add":[0,1e39]}"#,
            r#"{"clamp":{"min":null,"max":1e39}}"#,
            r#"{"project_out":{"direction":[1],"centre":[1e39]}}"#,
            r#"{"mean":{"values":[1e39],"of":"x"}}"#,
            r#"{"patch":{"rows":[[1],[1e39]]}}"#,
        ] {
            let edit = |op: &str| serde_json::from_str::<Edit>(&format!(r#"{{"site":"z.1","op":{op}}}"#));
            let why = edit(op).unwrap_err().to_string();
            assert!(why.contains("32 bits"), "{op}: {why}");
            assert!(edit(&op.replace("1e39", "1e38")).is_ok(), "{op}");
        }
        let open = serde_json::from_str::<Edit>(r#"{"site":"z.1","op":{"clamp":{"min":1}}}"#).unwrap();
        assert_eq!(open.op, Op::Clamp { min: Some(1.0), max: None });
    }
}
