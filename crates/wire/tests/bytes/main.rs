//! The exact bytes of the words: strict, bounded, and the same for ever; and whose deed is believed.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod deeds;
mod golden;
mod strict;
mod words;
