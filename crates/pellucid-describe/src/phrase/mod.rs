//! Candidates as short phrases for a person: `months: September, October…`, `the token after a decimal point`,
//! `"of" after "because"`, `words ending in -ing: running, going…`, `tokens before "York"`, `says: Monday, Friday`.

mod output;
mod proxies;
mod tokens;
mod tries;

pub use output::says;
pub(crate) use proxies::{of_proxy, only_form};
pub(crate) use tokens::Surface;
pub use tokens::{LONGEST, clean};
pub(crate) use tries::of_trie;
