//! The next token's loss and its gradient, a few rows at a time: logits of a whole batch never exist.

use pellucid_kernels::matrix::{Matrix, add_product, product_into};
use pellucid_kernels::simd::softmax;

/// Rows whose logits exist together.
const BLOCK: usize = 128;

/// Sums −ln p of each row's next token (none where nothing follows). Where gradients are wanted, that of the sum by `rows`
/// (rows, width) is written to `to`, and that by `head` (vocabulary, width) added to `by_head`.
pub(crate) fn next_token(
    rows: &[f32],
    next: &[Option<u32>],
    head: &[f32],
    mut wanted: Option<[&mut [f32]; 2]>,
) -> f64 {
    let width = rows.len() / next.len().max(1);
    let vocabulary = head.len() / width.max(1);
    let head = Matrix::rows(head, width);
    let mut logits = vec![0f32; BLOCK.min(next.len()) * vocabulary];
    let mut total = 0.0;
    for (block, next) in next.chunks(BLOCK).enumerate() {
        let place = block * BLOCK * width..(block * BLOCK + next.len()) * width;
        let x = Matrix::rows(&rows[place.clone()], width);
        let logits = &mut logits[..next.len() * vocabulary];
        product_into(x, head.transposed(), logits, [vocabulary, 1]);
        for (row, next) in logits.chunks_exact_mut(vocabulary).zip(next) {
            match next {
                None => row.fill(0.0),
                Some(token) => {
                    softmax(row);
                    let p = &mut row[*token as usize];
                    total -= f64::from(p.max(f32::MIN_POSITIVE)).ln();
                    *p -= 1.0;
                }
            }
        }
        if let Some([to, by_head]) = &mut wanted {
            let slopes = Matrix::rows(logits, vocabulary);
            product_into(slopes, head, &mut to[place], [width, 1]);
            add_product(slopes.transposed(), x, by_head, [width, 1]);
        }
    }
    total
}
