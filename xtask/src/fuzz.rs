//! Decides how the targets of `crates/fuzz` get their inputs: from a seed on stable, or from
//! cargo-fuzz, whose inputs follow what the code under test does, on nightly.
//!
//! The corpus of cargo-fuzz grows in the target folder. It begins with the committed one.

use anyhow::{Context, Result, bail};

use crate::tools::{self, NIGHTLY};
use crate::tree::Tree;

/// What was asked for.
#[derive(Debug, PartialEq)]
struct Wish {
    minutes: f64,
    target: Option<String>,
}

/// Fuzzes for so many minutes: with cargo-fuzz if that is here, otherwise with the driver.
pub(crate) fn run(tree: &Tree, arguments: &[String]) -> Result<()> {
    let wish = wish(arguments)?;
    let mut flags = vec![];
    if let Some(target) = &wish.target {
        flags.extend(["--target", target]);
    }
    let minutes = wish.minutes.to_string();
    if !tools::nightly_has(tree, "fuzz") {
        println!("fuzz: cargo-fuzz or the toolchain {NIGHTLY} is not here; the driver does it");
        flags.extend(["--minutes", &minutes]);
        return drive(tree, &flags);
    }
    let corpus = tree.target_dir().join("fuzz-corpus");
    let folder = corpus.to_str().context("the target folder is not UTF-8")?;
    flags.extend(["--corpus-to", folder]);
    drive(tree, &flags)?;
    let targets = match wish.target {
        Some(target) => vec![target],
        None => targets(tree)?,
    };
    let seconds = (wish.minutes * 60.0 / targets.len() as f64).ceil().max(1.0);
    for target in targets {
        let mut command = tools::nightly(tree);
        command.args(["fuzz", "run", "--release", &target]).arg(corpus.join(&target));
        command.args(["--", &format!("-max_total_time={seconds}"), "-max_len=4096"]);
        tools::run(&mut command)?;
    }
    Ok(())
}

/// Runs the driver, optimised, with these flags.
pub(crate) fn drive(tree: &Tree, flags: &[&str]) -> Result<()> {
    let words = "run --quiet --locked --release -p whimbrel-fuzz --example drive --";
    let words: Vec<&str> = words.split(' ').chain(flags.iter().copied()).collect();
    tools::run_cargo(tree, &words)
}

fn wish(arguments: &[String]) -> Result<Wish> {
    let mut wish = Wish { minutes: 1.0, target: None };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--minutes" => wish.minutes = value.parse().context("--minutes takes a number")?,
            "--target" => wish.target = Some(value.clone()),
            _ => bail!("fuzz takes --minutes N and --target NAME"),
        }
    }
    if !wish.minutes.is_finite() || wish.minutes <= 0.0 {
        bail!("--minutes takes a number above zero");
    }
    Ok(wish)
}

/// The targets that cargo-fuzz can build: a file each.
fn targets(tree: &Tree) -> Result<Vec<String>> {
    let folder = "fuzz/fuzz_targets/";
    let files = tree.files()?;
    let names = files.iter().filter_map(|path| path.strip_prefix(folder)?.strip_suffix(".rs"));
    let names: Vec<String> = names.map(str::to_owned).collect();
    if names.is_empty() {
        bail!("{folder} has no targets");
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(words: &[&str]) -> Option<Wish> {
        wish(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn a_wish_is_read_and_an_odd_one_refused() {
        assert_eq!(wished(&[]), Some(Wish { minutes: 1.0, target: None }));
        let words = ["--minutes", "0.5", "--target", "frames"];
        assert_eq!(wished(&words), Some(Wish { minutes: 0.5, target: Some("frames".to_owned()) }));
        for odd in [&["--minutes"][..], &["--minutes", "0"], &["--minutes", "x"], &["--fast", "1"]]
        {
            assert_eq!(wished(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn every_target_of_the_driver_is_one_of_cargo_fuzz() {
        let tree = Tree::open().unwrap();
        let files = tree.files().unwrap();
        let corpus = files.iter().filter_map(|path| {
            path.strip_prefix("crates/fuzz/corpus/")?.strip_suffix(".hex").map(str::to_owned)
        });
        assert_eq!(corpus.collect::<Vec<_>>(), targets(&tree).unwrap());
    }
}
