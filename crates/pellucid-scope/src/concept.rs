//! Steering by concept, in short: `concept("months and dates", k=500, strength=0)`.

use crate::error::{Result, bad};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Concept {
    /// What the units are about.
    pub text: String,
    /// How many units.
    pub k: usize,
    /// 0 turns them off; 1 sets each to its typical strength.
    pub strength: f32,
    /// The least score of a unit's description on held-out text.
    pub score: f64,
}

impl Concept {
    /// Whether an argument names a concept.
    pub fn is_one(argument: &str) -> bool {
        argument.trim_start().starts_with("concept(")
    }

    /// Reads `concept("TEXT", k=N, strength=S, score=R)`; all but the text may be left out.
    ///
    /// # Errors
    /// If it is malformed, with what was expected.
    pub fn parse(argument: &str) -> Result<Concept> {
        let form = r#"expected concept("what it is about", k=500, strength=0, score=0.2)"#;
        let Some(inner) = argument.trim().strip_prefix("concept(").and_then(|a| a.strip_suffix(')')) else {
            return bad(format!("{argument}: {form}"));
        };
        let quoted = inner.trim().strip_prefix('"').and_then(|a| a.rsplit_once('"'));
        let Some((text, rest)) = quoted else {
            return bad(format!("{argument}: the words stand in double quotes; {form}"));
        };
        let mut concept = Concept { text: text.to_owned(), k: 500, strength: 0.0, score: 0.2 };
        for part in rest.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return bad(format!("{argument}: {part:?}: {form}"));
            };
            let (name, value) = (name.trim(), value.trim());
            let number = value.parse::<f64>().ok().filter(|n| n.is_finite());
            let count = value.parse::<usize>().ok().filter(|k| *k > 0);
            match (name, number, count) {
                ("k", _, Some(k)) => concept.k = k,
                ("strength", Some(n), _) => concept.strength = n as f32,
                ("score", Some(n), _) => concept.score = n,
                ("k" | "strength" | "score", ..) => {
                    return bad(format!("{argument}: {value:?} is no number for {name}"));
                }
                _ => return bad(format!("{argument}: there is no {name:?}; {form}")),
            }
        }
        Ok(concept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_are_read_with_what_they_leave_out() {
        let c = Concept::parse(r#"concept("months, "quoted" and dates", k=20, strength=-1.5)"#).unwrap();
        let expected =
            Concept { text: r#"months, "quoted" and dates"#.to_owned(), k: 20, strength: -1.5, score: 0.2 };
        assert_eq!(c, expected);
        assert_eq!(Concept::parse(r#"concept("x")"#).unwrap().k, 500);
        for bad in [
            "concept(x)",
            r#"concept("x""#,
            r#"concept("x", k=0)"#,
            r#"concept("x", z=1)"#,
            r#"concept("x", strength=nan)"#,
        ] {
            assert!(Concept::is_one(bad));
            let error = Concept::parse(bad).unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
