//! The words that every other room uses: where to look in a network ([`Site`]), what stands there
//! ([`UnitId`]), and what to change ([`Edit`]). Plain data only: no tensors, files, threads or JSON.

mod edit;
mod language;
mod latents;
mod names;
mod seed;
mod site;
mod split;
mod unit;

pub use edit::{Edit, EditError, Op, Positions, Role, Target};
pub use language::{Answer, Ask, Chat, Embed, Message, ServiceError};
pub use latents::Latents;
pub use names::{HfFamily, hugging_face_name, transformer_lens_name};
pub use seed::Seed;
pub use site::{NameError, Point, Shape, Site};
pub use split::Split;
pub use unit::{Index, Polarity, UnitId};
