//! Rows of which few latents are active: compressed sparse rows.

/// What was subtracted from a row and divided out of it before encoding; decoding puts it back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Subtracted from every coordinate.
    pub shift: f32,
    /// Divided out of every coordinate.
    pub scale: f32,
}

/// Active latents of some rows. Row r has the entries `offsets[r]..offsets[r + 1]` of `latents` and `values`, latents ascending.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparse {
    /// Where each row begins; one more than there are rows, the first 0.
    pub offsets: Vec<usize>,
    /// Which latents are active.
    pub latents: Vec<u32>,
    /// How strongly.
    pub values: Vec<f32>,
    /// Each row's frame where the dictionary normalises rows one by one; otherwise empty.
    pub frames: Vec<Frame>,
}

impl Default for Sparse {
    fn default() -> Self {
        Sparse { offsets: vec![0], latents: Vec::new(), values: Vec::new(), frames: Vec::new() }
    }
}

impl Sparse {
    /// Rows of this width without their zeros: neurons are the dictionary that changes nothing.
    pub fn of(rows: &[f32], width: usize) -> Self {
        let mut sparse = Sparse::default();
        for row in rows.chunks_exact(width) {
            sparse.push((0..).zip(row.iter().copied()).filter(|(_, value)| *value != 0.0));
        }
        sparse
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// A row's active latents and their values.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (u32, f32)> {
        let range = self.offsets[row]..self.offsets[row + 1];
        self.latents[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    /// Adds a row; its entries must come with ascending latents.
    pub fn push(&mut self, entries: impl IntoIterator<Item = (u32, f32)>) {
        for (latent, value) in entries {
            self.latents.push(latent);
            self.values.push(value);
        }
        self.offsets.push(self.latents.len());
    }

    /// Adds another's rows below.
    pub fn append(&mut self, other: Sparse) {
        let before = self.latents.len();
        self.offsets.extend(other.offsets.iter().skip(1).map(|at| at + before));
        self.latents.extend(other.latents);
        self.values.extend(other.values);
        self.frames.extend(other.frames);
    }

    /// Mean number of active latents in a row (L0); 0 without rows.
    pub fn mean_active(&self) -> f64 {
        match self.rows() {
            0 => 0.0,
            rows => self.latents.len() as f64 / rows as f64,
        }
    }
}
