//! Decides which tests run in Miri, which sees undefined behaviour, and which do not, because there they would
//! take hours.
//!
//! It needs the toolchain `nightly` with the components `miri` and `rust-src`. A package that was done is
//! not done again by `--resume` for the same state of the tree.

use std::fs;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::soak;
use crate::tools::{self, NIGHTLY};
use crate::tree::Tree;

/// Cases of each property: each takes some thousand times as long as by itself.
const CASES: &str = "4";

/// Tests of one package.
struct Part {
    package: &'static str,
    words: &'static [&'static str],
}

/// Of `wire` all that reads hostile bytes, but a test on frames of many mebibytes; of `protocol` the parts whose
/// tests sign little: a signature takes Miri seconds.
const PARTS: &[Part] = &[
    Part {
        package: "whimbrel-wire",
        words: &["--test", "bytes", "--", "strict::", "--skip", "a_frame_beyond_the_limit"],
    },
    Part {
        package: "whimbrel-protocol",
        words: &[
            "--lib",
            "--test",
            "steps",
            "--",
            "frame::",
            "at_rest::",
            "pace::",
            "rarely::",
            "recent::",
        ],
    },
];

/// Runs all parts, or with `--resume` those that were not done for this state of the tree.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let resume = match arguments {
        [] => false,
        [word] if word == "--resume" => true,
        _ => bail!("miri takes --resume or nothing"),
    };
    if !tools::nightly_has(tree, "miri") {
        bail!("Miri is not here: rustup toolchain install {NIGHTLY} --component miri,rust-src");
    }
    let state = soak::state(tree)?;
    let folder = tree.target_dir().join("miri-done");
    for part in PARTS {
        let mark = folder.join(part.package);
        if resume && soak::is_done(fs::read_to_string(&mark).ok().as_deref(), &state) {
            println!("miri: {} was done before", part.package);
            continue;
        }
        let started = Instant::now();
        let mut command = tools::nightly(tree);
        // What it builds is for its own machine.
        command.env("CARGO_TARGET_DIR", tree.target_dir().join("miri"));
        command.args(["miri", "test", "--locked", "-p", part.package]).args(part.words);
        // Properties keep what failed in files.
        command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", CASES);
        tools::run(&mut command)?;
        println!("miri: {} passed in {}", part.package, tools::duration(started.elapsed()));
        soak::leave_mark(&mark, &state)?;
    }
    Ok(())
}
