//! What the tests and the program `conformance` share.

#![allow(dead_code, reason = "every user needs another part of it")]
#![allow(missing_docs, reason = "support of tests is read with them")]
#![allow(unreachable_pub, reason = "it is included by path")]
#![allow(clippy::wildcard_enum_match_arm, reason = "directives of scripts are many")]

pub mod instance;
pub mod script;
pub mod tally;
pub mod values;
