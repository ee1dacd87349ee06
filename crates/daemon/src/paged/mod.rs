//! State in pages: an ordered map of byte keys whose frozen view costs next to nothing.

mod group;
mod map;
mod page;

pub use map::{EntryTooLong, PagedMap, Scan};
