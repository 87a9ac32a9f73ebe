//! Search over descriptions: by meaning, by words, by where a unit is and how it was judged.
//!
//! Every filter but the words' is a range of keys or a column; the words go to FTS5 as quoted phrases, so that
//! no character of the input is an operator.

use super::descriptions::FROM;
use super::units::{self, polarity_code, polarity_from, unit_id};
use super::{Atlas, AtlasError, DescriptionId, ScoreKind};
use pellucid_core::{Index, Point, Polarity, Site, UnitId};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// In which order hits come. Ties go by site, index, polarity and key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The nearest first: by cosine where a vector is given, else by words, else by unit.
    #[default]
    Nearest,
    /// The best score first (of [`Query::score`]'s kind); descriptions without one last.
    Score,
    /// The rarest first.
    Density,
    /// By site, index and polarity.
    Unit,
}

/// What is searched for. Everything that is given must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// An embedder's name and a vector of its width: orders by cosine.
    pub vector: Option<(String, Vec<f32>)>,
    /// Words that must all stand in the description.
    pub text: Option<String>,
    /// Layers.
    pub layers: Option<RangeInclusive<u32>>,
    /// A kind of place.
    pub point: Option<Point>,
    /// One site.
    pub site: Option<Site>,
    /// A unit's index.
    pub index: Option<u32>,
    /// A side of zero.
    pub polarity: Option<Polarity>,
    /// A kind of score, and the least it may be.
    pub score: Option<(ScoreKind, f64)>,
    /// On which share of tokens the unit is active on the described side of zero (beyond half of its typical strength).
    pub density: Option<RangeInclusive<f64>>,
    /// Chosen descriptions only.
    pub chosen: bool,
    /// In which order.
    pub sort: Sort,
    /// How many at most.
    pub limit: usize,
}

/// A description that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Its key.
    pub id: DescriptionId,
    /// The unit's site.
    pub site: Site,
    /// The dictionary that it is a latent of.
    pub dictionary: Option<String>,
    /// The unit.
    pub index: u32,
    /// The described side of zero.
    pub polarity: Polarity,
    /// The description.
    pub text: String,
    /// Its short form.
    pub short: Option<String>,
    /// Whether it is the unit's description.
    pub chosen: bool,
    /// Cosine with the query's vector.
    pub cosine: Option<f32>,
    /// Its score of the asked kind; where none was asked for, of simulation. Test split before the others.
    pub score: Option<f64>,
    /// On which share of tokens the unit is active on this side of zero.
    pub density: f64,
}

impl Hit {
    /// The unit, with its side of zero where it has two.
    pub fn unit(&self) -> UnitId {
        match &self.dictionary {
            Some(name) => UnitId::Latent { dictionary: name.clone(), index: self.index, polarity: None },
            None => {
                let (site, index) = (self.site, Index::Coordinate(self.index));
                UnitId::Site { site, index, polarity: Some(self.polarity) }
            }
        }
    }
}

impl Query {
    /// Every chosen description, `limit` of them: a start to set fields of.
    pub fn all(limit: usize) -> Query {
        Query {
            vector: None,
            text: None,
            layers: None,
            point: None,
            site: None,
            index: None,
            polarity: None,
            score: None,
            density: None,
            chosen: true,
            sort: Sort::Nearest,
            limit,
        }
    }

    fn in_site(&self, site: Site) -> bool {
        self.site.is_none_or(|wanted| wanted == site)
            && self.point.is_none_or(|wanted| wanted == site.point)
            && self.layers.as_ref().is_none_or(|layers| layers.contains(&site.layer))
    }

    fn filtered_by_site(&self) -> bool {
        self.site.is_some() || self.point.is_some() || self.layers.is_some() || self.index.is_some()
    }
}

/// Words as FTS5 phrases, one a word; none where there is nothing to look for.
fn phrases(text: &str) -> Option<String> {
    let words = text.split(|c: char| c.is_whitespace() || c == '\0').filter(|word| !word.is_empty());
    // A phrase without a letter or digit has no token and would match nothing.
    let words = words.filter(|word| word.chars().any(char::is_alphanumeric));
    let quoted: Vec<String> = words.map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    (!quoted.is_empty()).then(|| quoted.join(" "))
}

/// Up to how many hits a statement names one by one.
const LOOKED_UP: usize = 1000;

/// A condition and its values.
struct Filter {
    sql: String,
    values: Vec<Value>,
}

impl Filter {
    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }
}

/// The density of the described side.
const DENSITY: &str = "CASE d.polarity WHEN 1 THEN u.positive_density ELSE u.negative_density END";
/// The score of a kind, on test if there is one, else on validation, else on any split; by the description's own
/// simulator before a language model. One value: the kind.
const SCORE: &str = "(SELECT c.value FROM scores c WHERE c.description = d.id AND c.kind = ? \
                     ORDER BY c.split DESC, c.scorer LIMIT 1)";

fn filter(db: &Connection, query: &Query) -> Result<Filter, AtlasError> {
    let mut filter = Filter { sql: "d.text IS NOT NULL".to_owned(), values: Vec::new() };
    if query.chosen {
        filter.and("d.chosen", []);
    }
    if let Some(polarity) = query.polarity {
        filter.and("d.polarity = ?", [Value::from(polarity_code(polarity))]);
    }
    if query.filtered_by_site() {
        let sites = units::sites(db)?.into_iter().filter(|row| query.in_site(row.site));
        let range = |row: &units::SiteRow| match query.index {
            Some(index) => [unit_id(row.id, index); 2],
            None => [unit_id(row.id, 0), unit_id(row.id, u32::MAX)],
        };
        let ranges: Vec<[i64; 2]> = sites.map(|row| range(&row)).collect();
        let any = vec!["d.unit BETWEEN ? AND ?"; ranges.len()].join(" OR ");
        let any = if ranges.is_empty() { "FALSE".to_owned() } else { format!("({any})") };
        filter.and(&any, ranges.into_iter().flatten().map(Value::from));
    }
    if let Some((kind, least)) = &query.score {
        filter.and(&format!("{SCORE} >= ?"), [Value::from(kind.name().to_owned()), Value::from(*least)]);
    }
    if let Some(density) = &query.density {
        let bounds = [Value::from(*density.start()), Value::from(*density.end())];
        filter.and(&format!("{DENSITY} BETWEEN ? AND ?"), bounds);
    }
    if let Some(text) = &query.text {
        match phrases(text) {
            Some(phrases) => {
                filter.and("d.id IN (SELECT rowid FROM words WHERE words MATCH ?)", [Value::from(phrases)])
            }
            None => filter.and("FALSE", []),
        }
    }
    Ok(filter)
}

/// Descriptions that pass a filter, in no order.
fn hits(db: &Connection, query: &Query, filter: Filter) -> Result<Vec<Hit>, AtlasError> {
    let dictionary = units::dictionary(db)?;
    let kind = query.score.as_ref().map_or("simulation", |(kind, _)| kind.name());
    let sql = format!(
        "SELECT d.id, s.name, d.unit, d.polarity, d.text, d.short, d.chosen, {SCORE} AS score, {DENSITY} AS density \
         FROM {FROM} JOIN units u ON u.id = d.unit WHERE {}",
        filter.sql
    );
    let mut values = vec![Value::from(kind.to_owned())];
    values.extend(filter.values);
    let mut step = db.prepare(&sql)?;
    let mut rows = step.query(params_from_iter(values))?;
    let mut hits = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        hits.push(Hit {
            id: DescriptionId(row.get(0)?),
            site: name.parse().map_err(|error| AtlasError::corrupt("sites", &name, error))?,
            dictionary: dictionary.clone(),
            index: row.get::<_, i64>(2)? as u32,
            polarity: polarity_from(row.get(3)?),
            text: row.get(4)?,
            short: row.get(5)?,
            chosen: row.get(6)?,
            cosine: None,
            score: row.get(7)?,
            density: row.get(8)?,
        });
    }
    Ok(hits)
}

/// Keys that pass a filter, ascending.
fn passing(db: &Connection, filter: &Filter) -> Result<Vec<i64>, AtlasError> {
    let units = if filter.sql.contains("u.") { "JOIN units u ON u.id = d.unit" } else { "" };
    let sql = format!("SELECT d.id FROM descriptions d {units} WHERE {} ORDER BY d.id", filter.sql);
    let mut step = db.prepare(&sql)?;
    let rows = step.query_map(params_from_iter(&filter.values), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The place of a unit in the model, for ties.
fn place(hit: &Hit) -> (Site, u32, Polarity, DescriptionId) {
    (hit.site, hit.index, hit.polarity, hit.id)
}

fn order(hits: &mut [Hit], sort: Sort) {
    // Larger numbers first, none last.
    let down = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => b.is_some().cmp(&a.is_some()),
    };
    hits.sort_by(|a, b| {
        let by = match sort {
            Sort::Nearest => down(a.cosine.map(f64::from), b.cosine.map(f64::from)),
            Sort::Score => down(a.score, b.score),
            Sort::Density => a.density.total_cmp(&b.density),
            Sort::Unit => std::cmp::Ordering::Equal,
        };
        by.then_with(|| place(a).cmp(&place(b)))
    });
}

impl Atlas {
    /// Descriptions that fit a query.
    ///
    /// # Errors
    /// If the vector does not fit its embedder, the file holds none of the embedder, or it cannot be read. Words
    /// cannot be wrong: where nothing can be looked for, nothing is found.
    pub fn find(&self, query: &Query) -> Result<Vec<Hit>, AtlasError> {
        match &query.vector {
            Some((model, vector)) => self.by_meaning(query, model, vector),
            None => self.reading(|db| by_columns(db, query)),
        }
    }

    fn by_meaning(&self, query: &Query, model: &str, vector: &[f32]) -> Result<Vec<Hit>, AtlasError> {
        let vectors = self.vectors(model)?;
        let cosines = vectors.cosines(vector)?;
        self.reading(|db| {
            let filter = filter(db, query)?;
            let passing = passing(db, &filter)?;
            // Both ascend by key: one walk joins them.
            let mut near: Vec<(f32, i64)> = Vec::with_capacity(passing.len());
            let mut keys = passing.into_iter().peekable();
            for (id, &cosine) in vectors.ids().iter().zip(&cosines) {
                while keys.next_if(|&key| key < id.0).is_some() {}
                if keys.next_if_eq(&id.0).is_some() {
                    near.push((cosine, id.0));
                }
            }
            if query.sort == Sort::Nearest {
                let nearer = |a: &(f32, i64), b: &(f32, i64)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
                if near.len() > query.limit && query.limit > 0 {
                    near.select_nth_unstable_by(query.limit - 1, nearer);
                }
                near.truncate(query.limit);
            }
            let cosines: HashMap<i64, f32> = near.iter().map(|&(cosine, id)| (id, cosine)).collect();
            // A few are looked up by key; where the order is another one, or many are wanted, all that pass.
            let few = near.len() <= LOOKED_UP;
            let ids = near.iter().take(LOOKED_UP).map(|row| row.1.to_string()).collect::<Vec<_>>().join(",");
            let by_key = || Filter { sql: format!("d.id IN ({ids})"), values: Vec::new() };
            let mut hits = hits(db, query, if few { by_key() } else { filter })?;
            hits.retain_mut(|hit| {
                hit.cosine = cosines.get(&hit.id.0).copied();
                hit.cosine.is_some()
            });
            order(&mut hits, query.sort);
            hits.truncate(query.limit);
            Ok(hits)
        })
    }
}

fn by_columns(db: &Connection, query: &Query) -> Result<Vec<Hit>, AtlasError> {
    let filter = filter(db, query)?;
    let words = query.text.as_deref().and_then(phrases).filter(|_| query.sort == Sort::Nearest);
    let mut hits = hits(db, query, filter)?;
    match words {
        Some(words) => {
            // BM25 by key: the lower the nearer.
            let mut step = db.prepare("SELECT rowid, rank FROM words WHERE words MATCH ?1")?;
            let rows = step.query_map([words], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?)))?;
            let ranks: HashMap<i64, f64> = rows.collect::<Result<_, _>>()?;
            let rank = |hit: &Hit| ranks.get(&hit.id.0).copied().unwrap_or(0.0);
            hits.sort_by(|a, b| rank(a).total_cmp(&rank(b)).then_with(|| place(a).cmp(&place(b))));
        }
        None => order(&mut hits, query.sort),
    }
    hits.truncate(query.limit);
    Ok(hits)
}
