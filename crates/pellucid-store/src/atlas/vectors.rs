//! Embeddings: half precision rows of length 1, and the cosine of one vector with all of them.
//!
//! No index: 10⁵ rows of 384 numbers are 71 MB, which two cores read in some milliseconds, and an exact answer
//! has no settings.

use super::{Atlas, AtlasError, DescriptionId};
use half::{f16, slice::HalfFloatSliceExt};
use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::Arc;

/// One model's embeddings in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    ids: Vec<DescriptionId>,
    width: usize,
    // (descriptions, width)
    rows: Vec<f16>,
    norms: Vec<f32>,
}

/// Vectors that were read, with what told that they are still the file's.
pub(super) struct Cached {
    model: String,
    state: (i64, i64),
    vectors: Arc<Vectors>,
}

/// Rows that one task converts and multiplies at a time.
const ROWS: usize = 512;

impl Vectors {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Length of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The descriptions that the rows belong to, ascending.
    pub fn ids(&self) -> &[DescriptionId] {
        &self.ids
    }

    /// The row of a description; none if it has none.
    pub fn row(&self, id: DescriptionId) -> Option<Vec<f32>> {
        let at = self.ids.binary_search(&id).ok()?;
        let mut wide = vec![0f32; self.width];
        self.rows.get(at * self.width..(at + 1) * self.width)?.convert_to_f32_slice(&mut wide);
        Some(wide)
    }

    /// The cosine of `vector` with every row, in the order of [`Vectors::ids`].
    ///
    /// # Errors
    /// If the vector's length is not the rows', or it is zero or not finite.
    pub fn cosines(&self, vector: &[f32]) -> Result<Vec<f32>, AtlasError> {
        let unit = unit(vector)?;
        if unit.len() != self.width {
            let fault = format!("expected {} numbers, found {}", self.width, unit.len());
            return Err(AtlasError::invalid("a vector to search with", fault));
        }
        let mut cosines = vec![0f32; self.ids.len()];
        let blocks = self.rows.par_chunks(ROWS * self.width).zip(self.norms.par_chunks(ROWS));
        cosines.par_chunks_mut(ROWS).zip(blocks).for_each(|(out, (rows, norms))| {
            let mut wide = vec![0f32; self.width];
            for ((out, row), norm) in out.iter_mut().zip(rows.chunks_exact(self.width)).zip(norms) {
                row.convert_to_f32_slice(&mut wide);
                *out = dot(&wide, &unit) / norm;
            }
        });
        Ok(cosines)
    }
}

/// Sixteen partial sums, so that the compiler may use wide registers: its order of additions is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for i in 0..16 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn unit(vector: &[f32]) -> Result<Vec<f32>, AtlasError> {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm == 0.0 {
        return Err(AtlasError::invalid("a vector", "its length is zero or not finite"));
    }
    Ok(vector.iter().map(|&x| (f64::from(x) / norm) as f32).collect())
}

fn embedder(db: &Connection, model: &str) -> Result<Option<(i64, usize)>, AtlasError> {
    let mut step = db.prepare_cached("SELECT id, width FROM embedders WHERE name = ?1")?;
    let row = step.query_row([model], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let Some((id, width)) = row.optional()? else { return Ok(None) };
    let width = usize::try_from(width).ok().filter(|width| (1..1 << 20).contains(width));
    let width = width.ok_or_else(|| AtlasError::corrupt("embedders", model, "a width out of range"))?;
    Ok(Some((id, width)))
}

/// Writes a row.
pub(super) fn put(db: &Connection, model: &str, id: DescriptionId, vector: &[f32]) -> Result<(), AtlasError> {
    let bits: Vec<u8> = unit(vector)?.into_iter().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect();
    put_bits(db, model, id, &bits)
}

/// Writes a row as it stands in a file.
pub(super) fn put_bits(
    db: &Connection,
    model: &str,
    id: DescriptionId,
    bits: &[u8],
) -> Result<(), AtlasError> {
    let embedder = match embedder(db, model)? {
        Some((id, width)) if width * 2 == bits.len() => id,
        Some((_, width)) => {
            let fault = format!("{model} has {width} numbers in this atlas, found {}", bits.len() / 2);
            return Err(AtlasError::invalid("an embedding", fault));
        }
        None => {
            let width = (bits.len() / 2) as i64;
            db.execute("INSERT INTO embedders (name, width) VALUES (?1, ?2)", params![model, width])?;
            db.last_insert_rowid()
        }
    };
    let mut step = db.prepare_cached(
        "INSERT INTO embeddings (description, embedder, row) VALUES (?1, ?2, ?3)
         ON CONFLICT (embedder, description) DO UPDATE SET row = excluded.row",
    )?;
    step.execute(params![id.0, embedder, bits])?;
    Ok(())
}

/// A description's embeddings by model, as they stand in the file.
pub(super) fn rows_of(db: &Connection, id: DescriptionId) -> Result<Vec<(String, Vec<u8>)>, AtlasError> {
    let mut step = db.prepare_cached(
        "SELECT m.name, e.row FROM embedders m JOIN embeddings e ON e.embedder = m.id
         WHERE e.description = ?1 ORDER BY m.name",
    )?;
    let rows = step.query_map([id.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn load(db: &Connection, model: &str) -> Result<Vectors, AtlasError> {
    let absent = || AtlasError::absent(format!("embeddings of {model}"));
    let (embedder, width) = embedder(db, model)?.ok_or_else(absent)?;
    let (mut ids, mut rows, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    let mut step =
        db.prepare("SELECT description, row FROM embeddings WHERE embedder = ?1 ORDER BY description")?;
    let mut found = step.query([embedder])?;
    let mut wide = vec![0f32; width];
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        let wrong = |fault: &str| AtlasError::corrupt("embeddings", format!("description {id}"), fault);
        let bytes = row.get_ref(1)?.as_blob().map_err(|_| wrong("no blob"))?;
        if bytes.len() != 2 * width {
            return Err(wrong("a row of another length than the model's"));
        }
        let start = rows.len();
        rows.extend(bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])));
        rows[start..].convert_to_f32_slice(&mut wide);
        let norm = dot(&wide, &wide).sqrt();
        if !norm.is_finite() || norm == 0.0 {
            return Err(wrong("a row whose length is zero or not finite"));
        }
        norms.push(norm);
        ids.push(DescriptionId(id));
    }
    Ok(Vectors { ids, width, rows, norms })
}

impl Atlas {
    /// A model's embeddings, read once and again only after the file changed.
    ///
    /// # Errors
    /// If the file holds none of the model, or a row is damaged.
    pub fn vectors(&self, model: &str) -> Result<Arc<Vectors>, AtlasError> {
        self.reading(|db| {
            // Changes by others, and our own.
            let others: i64 = db.query_row("PRAGMA data_version", [], |row| row.get(0))?;
            let own: i64 = db.query_row("SELECT total_changes()", [], |row| row.get(0))?;
            let state = (others, own);
            if let Some(cached) = &*self.vectors.borrow()
                && (cached.model.as_str(), cached.state) == (model, state)
            {
                return Ok(Arc::clone(&cached.vectors));
            }
            let vectors = Arc::new(load(db, model)?);
            let cached = Cached { model: model.to_owned(), state, vectors: Arc::clone(&vectors) };
            *self.vectors.borrow_mut() = Some(cached);
            Ok(vectors)
        })
    }
}
