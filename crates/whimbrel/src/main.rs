//! The command `whimbrel`: runs nodes, asks them things, and shows what they can do.
//!
//! This file decides nothing but the order: read the words, do them, say how it ended. What the
//! words are is in [`words`], how a refusal looks and which number the process ends with in
//! [`failure`].

mod ask;
mod audit;
mod channel;
mod chart;
mod cluster_sim;
mod config;
mod demo;
mod failure;
mod heap;
mod node;
mod output;
mod run;
mod send;
mod sim;
mod token;
mod trace;
mod watch;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::words::Words;

fn main() -> ExitCode {
    let words = Words::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&error.into()),
    };
    let ended = runtime.block_on(Box::pin(words.run()));
    // A thread that waits for the standard input would hold the process.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
