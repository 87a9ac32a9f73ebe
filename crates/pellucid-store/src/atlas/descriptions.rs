//! Words for units: descriptions with who wrote them, scores, embeddings and votes, and their way from one
//! file of a model into another.

use super::units::{self, known_unit, polarity_code, polarity_from, unit_id};
use super::{Atlas, AtlasError, exemplars, vectors};
use pellucid_core::{Polarity, Site, Split};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A description's key in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DescriptionId(pub i64);

/// Who wrote a description. Empty texts stand for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Explainer {
    /// The explainer's name, or the author's.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The language model it asked, if any.
    pub model: String,
    /// The version of the prompt, if any.
    pub prompt: String,
}

/// What an explainer came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A description.
    Text {
        /// In full.
        text: String,
        /// In a few words, if there is a shorter form.
        short: Option<String>,
    },
    /// None, and why. Never an error's text in a description's place.
    None {
        /// Why there is none.
        reason: String,
    },
}

/// Words for a unit and polarity, or the reason why there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The unit's site.
    pub site: Site,
    /// The unit.
    pub index: u32,
    /// Which side of zero is described.
    pub polarity: Polarity,
    /// Who wrote it.
    pub explainer: Explainer,
    /// Which of the explainer's candidates, from 0.
    pub candidate: u32,
    /// What was written.
    pub written: Written,
    /// Whether it is the unit's description among the candidates.
    pub chosen: bool,
}

/// How a description was judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScoreKind {
    /// Correlation of simulated with real activations.
    Simulation,
    /// Balanced accuracy of telling windows in which the unit is active.
    Detection,
    /// Balanced accuracy of telling rightly from wrongly marked tokens.
    Fuzzing,
    /// Another tool's kind of score, by its name there.
    Other(String),
}

/// A judgement of a description, with what makes it believable.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// How it was judged.
    pub kind: ScoreKind,
    /// The score.
    pub value: f64,
    /// Its 95% interval.
    pub interval: Option<(f64, f64)>,
    /// The score of another unit's description.
    pub null: Option<f64>,
    /// The split it was measured on; none for another tool's.
    pub split: Option<Split>,
    /// Number of judged things.
    pub n: Option<u64>,
    /// The seed of what was drawn.
    pub seed: Option<u64>,
    /// A hash of the windows it was measured on.
    pub windows: Option<[u8; 32]>,
    /// The language model that simulated or judged; empty where the description's own simulator did, or nobody.
    pub scorer: String,
}

impl Score {
    /// A value without more.
    pub fn plain(kind: ScoreKind, value: f64) -> Score {
        let (interval, null, split, n, seed, windows) = (None, None, None, None, None, None);
        Score { kind, value, interval, null, split, n, seed, windows, scorer: String::new() }
    }
}

/// How a chosen description stands: [`Atlas::judgements`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Simulation on the test split.
    pub score: f64,
    /// The same with another unit's description.
    pub null: Option<f64>,
    /// The score of the kind that was asked for.
    pub other: Option<f64>,
}

/// A description with all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<'a> {
    /// The words, or why there are none.
    pub description: Description,
    /// How it was judged.
    pub scores: Vec<Score>,
    /// Its vector.
    pub embedding: Option<&'a [f32]>,
}

/// A unit and polarity without a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Missing {
    /// The unit's site.
    pub site: Site,
    /// The unit.
    pub index: u32,
    /// Which side of zero.
    pub polarity: Polarity,
}

/// What [`Atlas::attach_descriptions_from`] copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Descriptions.
    pub descriptions: u64,
    /// Scores.
    pub scores: u64,
    /// Embeddings.
    pub embeddings: u64,
    /// Votes.
    pub votes: u64,
    /// Descriptions of units that this file does not hold.
    pub skipped: u64,
}

impl ScoreKind {
    /// The kind's name in files.
    pub fn name(&self) -> &str {
        match self {
            ScoreKind::Simulation => "simulation",
            ScoreKind::Detection => "detection",
            ScoreKind::Fuzzing => "fuzzing",
            ScoreKind::Other(name) => name,
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> ScoreKind {
        match name {
            "simulation" => ScoreKind::Simulation,
            "detection" => ScoreKind::Detection,
            "fuzzing" => ScoreKind::Fuzzing,
            other => ScoreKind::Other(other.to_owned()),
        }
    }
}

/// The test split's code.
const TEST: i64 = 2;

const COLUMNS: &str = "d.id, s.name, d.unit, d.polarity, e.name, e.version, e.model, e.prompt, d.candidate, \
                       d.text, d.short, d.reason, d.chosen";
/// Joins on the key's upper half: the site.
pub(super) const FROM: &str = "descriptions d JOIN explainers e ON e.id = d.explainer \
                               JOIN sites s ON s.id = d.unit >> 32";

fn read(row: &Row<'_>) -> Result<(DescriptionId, Description), AtlasError> {
    let id: i64 = row.get(0)?;
    let site = row.get::<_, String>(1)?;
    let site = site.parse().map_err(|error| AtlasError::corrupt("sites", &site, error))?;
    let written = match (row.get(9)?, row.get::<_, Option<String>>(11)?) {
        (Some(text), _) => Written::Text { text, short: row.get(10)? },
        (None, reason) => Written::None { reason: reason.unwrap_or_default() },
    };
    let explainer =
        Explainer { name: row.get(4)?, version: row.get(5)?, model: row.get(6)?, prompt: row.get(7)? };
    let description = Description {
        site,
        index: row.get::<_, i64>(2)? as u32,
        polarity: polarity_from(row.get(3)?),
        explainer,
        candidate: row.get(8)?,
        written,
        chosen: row.get(12)?,
    };
    Ok((DescriptionId(id), description))
}

/// Descriptions that fit a condition, in the order of their keys.
pub(super) fn select(
    db: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(DescriptionId, Description)>, AtlasError> {
    let mut step = db.prepare(&format!("SELECT {COLUMNS} FROM {FROM} WHERE {condition}"))?;
    let mut rows = step.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

fn explainer_id(db: &Connection, explainer: &Explainer) -> Result<i64, AtlasError> {
    let Explainer { name, version, model, prompt } = explainer;
    let key = params![name, version, model, prompt];
    let find = "SELECT id FROM explainers WHERE name = ?1 AND version = ?2 AND model = ?3 AND prompt = ?4";
    if let Some(id) = db.prepare_cached(find)?.query_row(key, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    db.execute("INSERT INTO explainers (name, version, model, prompt) VALUES (?1, ?2, ?3, ?4)", key)?;
    Ok(db.last_insert_rowid())
}

fn add(db: &Connection, new: &Description) -> Result<DescriptionId, AtlasError> {
    let unit = known_unit(db, new.site, new.index)?;
    let explainer = explainer_id(db, &new.explainer)?;
    let polarity = polarity_code(new.polarity);
    let what = || format!("a description of {}/{}{}", new.site, new.index, new.polarity);
    let (text, short, reason) = match &new.written {
        Written::Text { text, .. } if text.trim().is_empty() => {
            return Err(AtlasError::invalid(what(), "it is empty; give the reason why there is none"));
        }
        Written::Text { text, short } => (Some(text), short.as_ref(), None),
        Written::None { .. } if new.chosen => {
            return Err(AtlasError::invalid(what(), "none cannot be chosen"));
        }
        Written::None { reason } => (None, None, Some(reason)),
    };
    if new.chosen {
        let mut clear = db.prepare_cached(
            "UPDATE descriptions SET chosen = 0 WHERE unit = ?1 AND polarity = ?2 AND chosen",
        )?;
        clear.execute(params![unit, polarity])?;
    }
    let mut insert = db.prepare_cached(
        "INSERT INTO descriptions (unit, polarity, explainer, candidate, text, short, reason, chosen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (unit, polarity, explainer, candidate) DO UPDATE
         SET text = excluded.text, short = excluded.short, reason = excluded.reason, chosen = excluded.chosen
         RETURNING id",
    )?;
    let row = params![unit, polarity, explainer, new.candidate, text, short, reason, new.chosen];
    let id: i64 = insert.query_row(row, |row| row.get(0))?;
    Ok(DescriptionId(id))
}

fn add_score(db: &Connection, id: DescriptionId, score: &Score) -> Result<(), AtlasError> {
    let numbers = [Some(score.value), score.interval.map(|i| i.0), score.interval.map(|i| i.1), score.null];
    if numbers.iter().flatten().any(|number| !number.is_finite()) {
        return Err(AtlasError::invalid("a score", "it is not finite; a failure is no score"));
    }
    exists(db, id)?;
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO scores VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    insert.execute(params![
        id.0,
        score.kind.name(),
        score.split.map_or(-1, |split| i64::from(exemplars::split_code(split))),
        score.scorer,
        numbers[0],
        numbers[1],
        numbers[2],
        numbers[3],
        score.n.map(|n| n as i64),
        score.seed.map(|seed| seed as i64),
        score.windows,
    ])?;
    Ok(())
}

fn exists(db: &Connection, id: DescriptionId) -> Result<(), AtlasError> {
    let mut step = db.prepare_cached("SELECT 1 FROM descriptions WHERE id = ?1")?;
    let found = step.query_row([id.0], |_| Ok(())).optional()?;
    found.ok_or_else(|| AtlasError::absent(format!("description {}", id.0)))
}

pub(super) fn scores(db: &Connection, id: DescriptionId) -> Result<Vec<Score>, AtlasError> {
    let sql = format!("SELECT {SCORE} FROM scores WHERE description = ?1 ORDER BY kind, split, scorer");
    let mut step = db.prepare_cached(&sql)?;
    let rows = step.query_map([id.0], read_score)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

const SCORE: &str = "kind, split, value, low, high, null_value, n, seed, windows, scorer";

fn read_score(row: &Row<'_>) -> rusqlite::Result<Score> {
    Ok(Score {
        kind: ScoreKind::from_name(&row.get::<_, String>(0)?),
        split: exemplars::split_from(row.get(1)?),
        value: row.get(2)?,
        interval: row.get::<_, Option<f64>>(3)?.zip(row.get(4)?),
        null: row.get(5)?,
        n: row.get::<_, Option<i64>>(6)?.map(|n| n as u64),
        seed: row.get::<_, Option<i64>>(7)?.map(|seed| seed as u64),
        windows: row.get(8)?,
        scorer: row.get(9)?,
    })
}

impl Atlas {
    /// Writes descriptions, all or none, and gives their keys in order. One with the same unit, polarity,
    /// explainer and candidate is written over; a chosen one takes the place of the one chosen before.
    ///
    /// # Errors
    /// If a unit is not in the file, a text is empty, or writing fails.
    pub fn add_descriptions(&mut self, new: &[Description]) -> Result<Vec<DescriptionId>, AtlasError> {
        self.writing(|db| new.iter().map(|one| add(db, one)).collect())
    }

    /// Writes descriptions with their scores and embeddings by `embedder`, and scores of `earlier` descriptions that
    /// they were held against, all or none, so that a process that is killed leaves no description without its
    /// judgement.
    ///
    /// # Errors
    /// As [`Atlas::add_descriptions`], [`Atlas::add_scores`] and [`Atlas::put_embeddings`].
    pub fn add_judged(
        &mut self,
        embedder: &str,
        new: &[Judged<'_>],
        earlier: &[(DescriptionId, Score)],
    ) -> Result<(), AtlasError> {
        self.writing(|db| {
            earlier.iter().try_for_each(|(id, score)| add_score(db, *id, score))?;
            new.iter().try_for_each(|one| {
                let id = add(db, &one.description)?;
                one.scores.iter().try_for_each(|score| add_score(db, id, score))?;
                one.embedding.map_or(Ok(()), |row| vectors::put(db, embedder, id, row))
            })
        })
    }

    /// Of each chosen description that was judged on the test split by simulation: its score, its null, and the value
    /// of its score of the kind `other`. The description's own simulator goes before a language model. In no particular
    /// order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn judgements(&self, other: &str) -> Result<Vec<Judgement>, AtlasError> {
        self.reading(|db| {
            let mut step = db.prepare(
                "SELECT s.value, s.null_value, o.value, min(s.scorer)
                 FROM scores s JOIN descriptions d ON d.id = s.description
                 LEFT JOIN scores o ON o.description = s.description AND o.kind = ?1
                 WHERE d.chosen AND s.kind = 'simulation' AND s.split = ?2 GROUP BY s.description",
            )?;
            let rows = step.query_map(params![other, TEST], |row| {
                Ok(Judgement { score: row.get(0)?, null: row.get(1)?, other: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Every score on a split by `scorer` (empty: by descriptions' own simulators), with its description's key, chosen or
    /// not, by key and kind.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn scores_by(&self, scorer: &str, split: Split) -> Result<Vec<(DescriptionId, Score)>, AtlasError> {
        self.reading(|db| {
            let sql = format!(
                "SELECT {SCORE}, description FROM scores WHERE split = ?1 AND scorer = ?2 ORDER BY description, kind"
            );
            let mut step = db.prepare(&sql)?;
            let values = params![i64::from(exemplars::split_code(split)), scorer];
            let rows = step.query_map(values, |row| Ok((DescriptionId(row.get(10)?), read_score(row)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Who has written, and how much: descriptions, chosen ones, and sides of units without one, by explainer.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn explainers(&self) -> Result<Vec<(Explainer, [u64; 3])>, AtlasError> {
        self.reading(|db| {
            let mut step = db.prepare(
                "SELECT e.name, e.version, e.model, e.prompt, count(d.text), sum(d.chosen), count(d.reason)
                 FROM descriptions d JOIN explainers e ON e.id = d.explainer GROUP BY e.id
                 ORDER BY e.name, e.version, e.model, e.prompt",
            )?;
            let rows = step.query_map([], |row| {
                let who = Explainer {
                    name: row.get(0)?,
                    version: row.get(1)?,
                    model: row.get(2)?,
                    prompt: row.get(3)?,
                };
                let count = |at: usize| row.get::<_, i64>(at).map(|n| n as u64);
                Ok((who, [count(4)?, count(5)?, count(6)?]))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Who has scored on the test split, by name; the empty name stands for descriptions' own simulators.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn scorers(&self) -> Result<Vec<String>, AtlasError> {
        self.reading(|db| {
            let mut step =
                db.prepare("SELECT DISTINCT scorer FROM scores WHERE split = ?1 ORDER BY scorer")?;
            let rows = step.query_map([TEST], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Why there is no description, and of how many units and polarities each reason is, the commonest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn reasons(&self, explainer: &str) -> Result<Vec<(String, u64)>, AtlasError> {
        self.reading(|db| {
            let mut step = db.prepare(
                "SELECT reason, count(*) AS n FROM descriptions d JOIN explainers e ON e.id = d.explainer
                 WHERE reason IS NOT NULL AND e.name = ?1 GROUP BY reason ORDER BY n DESC, reason",
            )?;
            let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64));
            let rows = step.query_map([explainer], read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Writes one description; see [`Atlas::add_descriptions`], which is faster for many.
    ///
    /// # Errors
    /// As there.
    pub fn add_description(&mut self, new: &Description) -> Result<DescriptionId, AtlasError> {
        self.writing(|db| add(db, new))
    }

    /// Makes a description its unit's and polarity's.
    ///
    /// # Errors
    /// If there is no such description or it is none, or writing fails.
    pub fn choose_description(&mut self, id: DescriptionId) -> Result<(), AtlasError> {
        self.writing(|db| {
            let row = db.query_row(
                "SELECT unit, polarity, text IS NULL FROM descriptions WHERE id = ?1",
                [id.0],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?)),
            );
            let absent = || AtlasError::absent(format!("description {}", id.0));
            let (unit, polarity, none) = row.optional()?.ok_or_else(absent)?;
            if none {
                return Err(AtlasError::invalid(format!("choice {}", id.0), "none cannot be chosen"));
            }
            db.execute(
                "UPDATE descriptions SET chosen = 0 WHERE unit = ?1 AND polarity = ?2 AND chosen",
                params![unit, polarity],
            )?;
            db.execute("UPDATE descriptions SET chosen = 1 WHERE id = ?1", [id.0])?;
            Ok(())
        })
    }

    /// What was written about a unit and polarity: the chosen one first, then by key.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn descriptions(
        &self,
        site: Site,
        index: u32,
        polarity: Polarity,
    ) -> Result<Vec<(DescriptionId, Description)>, AtlasError> {
        self.reading(|db| {
            let Some(id) = units::site_id(db, site)? else { return Ok(Vec::new()) };
            let condition = "d.unit = ?1 AND d.polarity = ?2 ORDER BY d.chosen DESC, d.id";
            select(db, condition, params![unit_id(id, index), polarity_code(polarity)])
        })
    }

    /// One description by its key.
    ///
    /// # Errors
    /// If there is none, or the file cannot be read.
    pub fn description(&self, id: DescriptionId) -> Result<Description, AtlasError> {
        self.reading(|db| {
            let found = select(db, "d.id = ?1", [id.0])?.pop();
            found.map(|row| row.1).ok_or_else(|| AtlasError::absent(format!("description {}", id.0)))
        })
    }

    /// Writes scores, all or none; one of the same description, kind and split is written over.
    ///
    /// # Errors
    /// If a description is not there, a number is not finite, or writing fails.
    pub fn add_scores(&mut self, scores: &[(DescriptionId, Score)]) -> Result<(), AtlasError> {
        self.writing(|db| scores.iter().try_for_each(|(id, score)| add_score(db, *id, score)))
    }

    /// Writes one score.
    ///
    /// # Errors
    /// As [`Atlas::add_scores`].
    pub fn add_score(&mut self, id: DescriptionId, score: &Score) -> Result<(), AtlasError> {
        self.writing(|db| add_score(db, id, score))
    }

    /// A description's scores by kind and split.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn scores(&self, id: DescriptionId) -> Result<Vec<Score>, AtlasError> {
        self.reading(|db| scores(db, id))
    }

    /// Writes the embeddings of descriptions by a model, all or none: `(width,)` each, of any length but zero
    /// (kept at length 1, in half precision).
    ///
    /// # Errors
    /// If a description is not there, a width differs from the model's in this file, or a number is not finite.
    pub fn put_embeddings(
        &mut self,
        model: &str,
        rows: &[(DescriptionId, &[f32])],
    ) -> Result<(), AtlasError> {
        self.writing(|db| {
            rows.iter().try_for_each(|(id, row)| {
                exists(db, *id)?;
                vectors::put(db, model, *id, row)
            })
        })
    }

    /// Writes one embedding.
    ///
    /// # Errors
    /// As [`Atlas::put_embeddings`].
    pub fn put_embedding(&mut self, model: &str, id: DescriptionId, row: &[f32]) -> Result<(), AtlasError> {
        self.put_embeddings(model, &[(id, row)])
    }

    /// Writes a person's vote; a second one of the same person replaces the first.
    ///
    /// # Errors
    /// If the description is not there, or writing fails.
    pub fn vote(&mut self, id: DescriptionId, voter: &str, up: bool) -> Result<(), AtlasError> {
        self.writing(|db| {
            exists(db, id)?;
            let vote = if up { 1 } else { -1 };
            db.execute("INSERT OR REPLACE INTO votes VALUES (?1, ?2, ?3)", params![id.0, voter, vote])?;
            Ok(())
        })
    }

    /// Votes for a description, and against it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn votes(&self, id: DescriptionId) -> Result<(u64, u64), AtlasError> {
        self.reading(|db| {
            let count = "SELECT count(*) FILTER (WHERE vote > 0), count(*) FILTER (WHERE vote < 0)
                         FROM votes WHERE description = ?1";
            let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64));
            Ok(db.query_row(count, [id.0], read)?)
        })
    }

    /// Units and polarities that an explainer has not looked at yet (neither words nor a reason), by site and
    /// index: what a resumed run has left to do. Without an explainer: that nobody has looked at.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn lacking(&self, explainer: Option<&Explainer>) -> Result<Vec<Missing>, AtlasError> {
        self.reading(|db| {
            let mut missing = Vec::new();
            let mut step = db.prepare(
                "SELECT u.id, p.polarity FROM units u, (SELECT 1 AS polarity UNION ALL SELECT -1) p
                 WHERE u.id BETWEEN ?1 AND ?2 AND NOT EXISTS (
                     SELECT 1 FROM descriptions d JOIN explainers e ON e.id = d.explainer
                     WHERE d.unit = u.id AND d.polarity = p.polarity AND (NOT ?3 OR
                         (e.name = ?4 AND e.version = ?5 AND e.model = ?6 AND e.prompt = ?7)))
                 ORDER BY u.id, p.polarity DESC",
            )?;
            let any = Explainer::default();
            let who = explainer.unwrap_or(&any);
            for row in units::sites(db)? {
                let (from, to) = (unit_id(row.id, 0), unit_id(row.id, u32::MAX));
                let values =
                    params![from, to, explainer.is_some(), who.name, who.version, who.model, who.prompt];
                let mut rows = step.query(values)?;
                while let Some(found) = rows.next()? {
                    let (index, polarity) = (found.get::<_, i64>(0)? as u32, polarity_from(found.get(1)?));
                    missing.push(Missing { site: row.site, index, polarity });
                }
            }
            Ok(missing)
        })
    }

    /// Copies descriptions, scores, embeddings and votes out of another atlas of the same model, all or none.
    /// Where both files hold the same (unit, polarity, explainer, candidate), the other's takes its place;
    /// a choice is copied only where this file has none.
    ///
    /// # Errors
    /// If the other atlas is of another model, a row is damaged, or writing fails.
    pub fn attach_descriptions_from(&mut self, other: &Atlas) -> Result<Attached, AtlasError> {
        let hash = |atlas: &Atlas| -> Result<String, AtlasError> {
            Ok(atlas.provenance()?.into_iter().next().map(|p| p.model_hash).unwrap_or_default())
        };
        let (expected, found) = (hash(self)?, hash(other)?);
        if expected != found {
            return Err(AtlasError::OtherModel { expected, found });
        }
        let rows = other.reading(|db| select(db, "TRUE ORDER BY d.id", []))?;
        self.writing(|db| {
            let mut done = Attached::default();
            for (old, mut description) in rows {
                if known_unit(db, description.site, description.index).is_err() {
                    done.skipped += 1;
                    continue;
                }
                let kept = is_chosen(db, &description)?;
                description.chosen &= kept.is_none();
                let new = add(db, &description)?;
                if let Some(kept) = kept {
                    // Writing over the chosen one must not take its being chosen away.
                    let keep = "UPDATE descriptions SET chosen = 1 WHERE id = ?1 AND text IS NOT NULL";
                    db.execute(keep, [kept])?;
                }
                done.descriptions += 1;
                other.reading(|from| attach(from, db, old, new, &mut done))?;
            }
            Ok(done)
        })
    }
}

fn is_chosen(db: &Connection, like: &Description) -> Result<Option<i64>, AtlasError> {
    let unit = known_unit(db, like.site, like.index)?;
    let find = "SELECT id FROM descriptions WHERE unit = ?1 AND polarity = ?2 AND chosen";
    Ok(db.query_row(find, params![unit, polarity_code(like.polarity)], |row| row.get(0)).optional()?)
}

/// What belongs to one description: scores, embeddings, votes.
fn attach(
    from: &Connection,
    to: &Connection,
    old: DescriptionId,
    new: DescriptionId,
    done: &mut Attached,
) -> Result<(), AtlasError> {
    for score in scores(from, old)? {
        add_score(to, new, &score)?;
        done.scores += 1;
    }
    for (model, row) in vectors::rows_of(from, old)? {
        vectors::put_bits(to, &model, new, &row)?;
        done.embeddings += 1;
    }
    let mut step = from.prepare("SELECT voter, vote FROM votes WHERE description = ?1 ORDER BY voter")?;
    let mut rows = step.query([old.0])?;
    while let Some(row) = rows.next()? {
        let (voter, vote): (String, i64) = (row.get(0)?, row.get(1)?);
        to.execute("INSERT OR REPLACE INTO votes VALUES (?1, ?2, ?3)", params![new.0, voter, vote])?;
        done.votes += 1;
    }
    Ok(())
}
