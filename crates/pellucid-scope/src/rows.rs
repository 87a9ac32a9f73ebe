//! Edits that differ from row to row of one batch, so that several edited runs of a text are one pass of the model.

use pellucid_core::Site;
use pellucid_model::{Apply, Place, Tap, Tensor};

/// Applies to each row of a batch its own edits, or none. The rows are equally long, and as many logits are asked of one
/// as of another.
pub(crate) struct RowEdits(pub(crate) Vec<Option<Apply>>);

impl RowEdits {
    fn apply(&mut self, row: usize, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        match self.0.get_mut(row).and_then(Option::as_mut) {
            Some(apply) if apply.wants(at.site) => apply.visit(at, x),
            _ => Ok(x),
        }
    }
}

impl Tap for RowEdits {
    fn wants(&self, site: Site) -> bool {
        self.0.iter().flatten().any(|apply| apply.wants(site))
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        // attention points come one row at a time
        if at.rows.len() == 1 {
            return self.apply(at.first_row, at, x);
        }
        let (mut parts, mut from) = (Vec::with_capacity(at.rows.len()), 0);
        // at the two last points each asked token is a row by itself
        let share = (at.rows.len() / self.0.len().max(1)).max(1);
        for (i, row) in at.rows.iter().enumerate() {
            let length = row.tokens.len();
            let part = x.narrow(0, from, length)?.contiguous()?;
            let first_row = at.first_row + i;
            let place = Place { site: at.site, rows: std::slice::from_ref(row), first_row };
            parts.push(self.apply(first_row / share, place, part)?);
            from += length;
        }
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn expects(&self) -> Vec<Site> {
        self.0.iter().flatten().flat_map(|apply| apply.expects()).collect()
    }
}
