//! What this machine computes with: the kernels are chosen by what its processor offers when the program runs.

use pellucid_kernels::integers::{self, Integers};
use pellucid_kernels::kernel::pairs_are_quick;
use pellucid_kernels::tiles::tiles_are_here;

/// The processor, as far as the kernels ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// As Rust calls it: `x86_64`, `aarch64`.
    pub architecture: &'static str,
    /// Instruction sets that some kernel uses here.
    pub features: Vec<&'static str>,
    /// Threads that share the work.
    pub threads: usize,
    /// What linear layers run on.
    pub exact: &'static str,
    /// What they run on in the fast precision.
    pub fast: &'static str,
    /// What one token runs on in the fast precision, where weights are kept in a file's blocks.
    pub blocks: &'static str,
}

impl Device {
    /// This machine.
    pub fn here() -> Self {
        let features = features();
        let has = |name: &str| features.contains(&name);
        let exact = match () {
            () if has("avx512f") => "f32 tiles of 12 × 32 sums, AVX-512",
            () if has("avx2") && has("fma") => "f32 tiles of 6 × 16 sums, AVX2",
            () => "f32 tiles as the compiler makes them",
        };
        let fast = match () {
            () if tiles_are_here() => "bf16 tiles of 32 × 32 sums in f32, AMX",
            () if pairs_are_quick() => "bf16 pairs with sums in f32, AVX-512",
            () => "the same",
        };
        let blocks = match integers::here() {
            Some(Integers::Wide) => "integers of 16 bits, AVX-512 VNNI",
            Some(Integers::Narrow) => "integers of 16 bits, AVX2",
            None => "f32, a row at a time",
        };
        Device {
            architecture: std::env::consts::ARCH,
            threads: rayon::current_num_threads(),
            features,
            exact,
            fast,
            blocks,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512bf16", pairs_are_quick()),
        ("avx512vnni", integers::here() == Some(Integers::Wide)),
        ("amx_bf16", tiles_are_here()),
    ];
    all.into_iter().filter(|(_, here)| *here).map(|(name, _)| name).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
