//! A second set of units for a site: a dictionary's latents, as whoever runs a model sees them. What kind of dictionary it
//! is, and how it came about, stays with who made it.
//!
//! A row x of the site is read as x = Σ aⱼ dⱼ + b + e: active latents a with their directions d, a constant b, and the
//! error e that the dictionary does not explain.

use std::fmt::Debug;

/// Latents of a site.
pub trait Latents: Debug + Send + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Coordinates of a row.
    fn width(&self) -> usize;

    /// The active latents of each of these rows, `(rows, width)`: ascending, with their values.
    fn active(&self, rows: &[f32]) -> Vec<Vec<(u32, f32)>>;

    /// A latent's direction dⱼ, in the scale that the dictionary computes in.
    fn direction(&self, latent: u32) -> &[f32];

    /// Adds to `to` what a latent writes when its value grows by `by`: `by · dⱼ`, in the scale of this row.
    fn write(&self, latent: u32, by: f32, row: &[f32], to: &mut [f32]);

    /// `g · dⱼ`: what the value of a latent is worth where a change of the row is worth `g`, in the scale of this row.
    fn worth(&self, latent: u32, g: &[f32], row: &[f32]) -> f32;

    /// Adds to `to` what moves an active latent's value: `by · ∂aⱼ/∂x`. Which latents are active, and the scale of a row
    /// where rows are normalised one by one, are held.
    fn pull(&self, latent: u32, by: f32, row: &[f32], to: &mut [f32]);

    /// What the dictionary makes of a row with these active latents: `Σ aⱼ dⱼ + b`.
    fn explained(&self, active: &[(u32, f32)], row: &[f32]) -> Vec<f32>;
}
