//! A dictionary as a second set of units for its site: what whoever runs a model asks of it.

use crate::dictionary::{Activation, Dictionary, Normalisation};
use crate::product::{add_scaled, dot};
use pellucid_core::Latents;

/// Rows that are encoded together: few, so that a prompt's rows go to all threads.
const ROWS: usize = 16;

/// What rows are multiplied by before encoding and divided by after decoding, with the scale of this row.
struct Scales {
    input: f32,
    output: f32,
}

impl Dictionary {
    fn scales(&self, row: &[f32]) -> Scales {
        match self.normalisation {
            Normalisation::None => Scales { input: 1.0, output: 1.0 },
            Normalisation::Scale { input, output } => Scales { input, output },
            Normalisation::RowNorm | Normalisation::LayerNorm { .. } => {
                // the frame is what decoding multiplies by; layer norms put back the deviation without epsilon
                let frame = self.normalise(&mut row.to_vec());
                let output = 1.0 / frame.map_or(1.0, |f| f.scale);
                let input = match self.normalisation {
                    Normalisation::LayerNorm { epsilon } => 1.0 / (1.0 / output + epsilon),
                    _ => output,
                };
                Scales { input, output }
            }
        }
    }

    /// How much an active latent's value gains with its product E n(x).
    fn slope(&self, latent: usize) -> f32 {
        match &self.activation {
            Activation::Gated { log_scale, .. } => log_scale[latent].exp(),
            _ => 1.0,
        }
    }
}

impl Latents for Dictionary {
    fn count(&self) -> usize {
        self.shape.latents
    }

    fn width(&self) -> usize {
        self.shape.d_in
    }

    fn active(&self, rows: &[f32]) -> Vec<Vec<(u32, f32)>> {
        let sparse = self.encode_by(ROWS, rows);
        (0..sparse.rows()).map(|row| sparse.row(row).collect()).collect()
    }

    fn direction(&self, latent: u32) -> &[f32] {
        self.feature(latent as usize)
    }

    fn write(&self, latent: u32, by: f32, row: &[f32], to: &mut [f32]) {
        add_scaled(to, by / self.scales(row).output, self.feature(latent as usize));
    }

    fn worth(&self, latent: u32, g: &[f32], row: &[f32]) -> f32 {
        dot(g, self.feature(latent as usize)) / self.scales(row).output
    }

    fn pull(&self, latent: u32, by: f32, row: &[f32], to: &mut [f32]) {
        let (latent, width) = (latent as usize, self.shape.d_in);
        let by = by * self.slope(latent) * self.scales(row).input;
        add_scaled(to, by, &self.encoder[latent * width..][..width]);
    }

    fn explained(&self, active: &[(u32, f32)], row: &[f32]) -> Vec<f32> {
        let frame = self.normalise(&mut row.to_vec());
        let mut sparse = crate::Sparse::default();
        sparse.push(active.iter().copied());
        sparse.frames.extend(frame);
        let mut out = vec![0.0; self.shape.d_out];
        self.decode_row(&sparse, 0, Some(row), &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dictionary::Shape;
    use crate::encode::tests::random;
    use pellucid_core::Seed;

    const SHAPE: Shape = Shape { d_in: 12, latents: 40, d_out: 12 };

    fn every_activation() -> Vec<Activation> {
        let spread =
            |step: f32| (0..SHAPE.latents).map(|i| (i as f32 * step).sin() * 0.3).collect::<Vec<_>>();
        vec![
            Activation::ReLU,
            Activation::TopK { k: 6 },
            Activation::BatchTopK { k: 6, threshold: 0.4 },
            Activation::JumpReLU { thresholds: spread(0.7) },
            Activation::Gated { log_scale: spread(0.3), bias: spread(0.9) },
        ]
    }

    fn row(seed: u64) -> Vec<f32> {
        let mut seed = Seed(seed);
        (0..SHAPE.d_in).map(|_| (0.5 + seed.normal()) as f32).collect()
    }

    fn value(d: &Dictionary, x: &[f32], latent: u32) -> f64 {
        d.active(x)[0].iter().find(|a| a.0 == latent).map_or(0.0, |a| f64::from(a.1))
    }

    #[test]
    fn rows_alone_and_together_are_encoded_alike_and_reconstructed_as_decoding_does() {
        let norms = [
            Normalisation::None,
            Normalisation::Scale { input: 0.5, output: 0.4 },
            Normalisation::RowNorm,
            Normalisation::LayerNorm { epsilon: 1e-3 },
        ];
        for (activation, normalisation) in
            every_activation().into_iter().flat_map(|a| norms.map(|n| (a.clone(), n)))
        {
            let d = Dictionary { normalisation, ..random(SHAPE, activation, 3) };
            let x: Vec<f32> = (0..40).flat_map(row).collect();
            let all = d.active(&x);
            assert_eq!(all.len(), 40);
            for (x, active) in x.chunks(SHAPE.d_in).zip(&all) {
                // the product of one row sums in another order
                let alone = &d.active(x)[0];
                assert!(alone.iter().map(|a| a.0).eq(active.iter().map(|a| a.0)), "{alone:?} {active:?}");
                assert!(alone.iter().zip(active).all(|(a, b)| (a.1 - b.1).abs() < 1e-5));
                let y = d.explained(active, x);
                let whole = d.reconstruct(x).unwrap();
                assert!(whole.iter().zip(&y).all(|(w, y)| (w - y).abs() < 1e-4));
                // a row is its reconstruction with the latents written one by one, in the row's own scale
                let mut built = d.explained(&[], x);
                active.iter().for_each(|&(l, a)| d.write(l, a, x, &mut built));
                assert!(built.iter().zip(&y).all(|(b, y)| (b - y).abs() < 1e-4), "{built:?} {y:?}");
            }
        }
    }

    #[test]
    fn what_moves_a_latent_and_what_it_is_worth_are_derivatives() {
        let norms = [Normalisation::None, Normalisation::Scale { input: 0.5, output: 0.4 }];
        for (activation, normalisation) in
            every_activation().into_iter().flat_map(|a| norms.map(|n| (a.clone(), n)))
        {
            let d = Dictionary { normalisation, ..random(SHAPE, activation, 4) };
            let (x, g, step) = (row(7), row(8), 1e-3);
            for &(latent, a) in &d.active(&x)[0] {
                let mut slope = vec![0.0; SHAPE.d_in];
                d.pull(latent, 1.0, &x, &mut slope);
                for i in 0..SHAPE.d_in {
                    let moved = |by: f32| {
                        let mut x = x.clone();
                        x[i] += by;
                        value(&d, &x, latent)
                    };
                    let found = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
                    assert!((found - f64::from(slope[i])).abs() < 1e-2, "{found} {} {a}", slope[i]);
                }
                let mut more = vec![0.0; SHAPE.d_in];
                d.write(latent, 2.0, &x, &mut more);
                let gain: f32 = more.iter().zip(&g).map(|(m, g)| m * g).sum();
                assert!((gain - 2.0 * d.worth(latent, &g, &x)).abs() < 1e-4);
            }
        }
    }
}
