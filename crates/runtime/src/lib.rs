//! runtime

pub mod link;
