//! `whimbrel-sim`: runs seeds, directed stories and scenarios.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a terminal")]
#![allow(
    clippy::disallowed_methods,
    reason = "rates and durations are for people; no run sees them"
)]

mod hunt;

use std::process::ExitCode;
use std::time::Instant;

use mimalloc::MiMalloc;
use whimbrel_sim::{
    Coverage, Speed, Tally, directed, rehearsal, run_seed, run_seed_counted, scenario,
};

/// A run makes and drops many small things; what they lie in decides nothing.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const USAGE: &str = "\
whimbrel-sim --seed N [--trace]       one run; twice, to see that it repeats itself
whimbrel-sim --seeds N [--from M]     many runs
             [--coverage [--update]]  and what the machines met in them
whimbrel-sim --speed [SECONDS]        how much faster than the clock it is
whimbrel-sim --directed [NAME]        the directed stories
whimbrel-sim --scenarios [--update]   the stories in crates/sim/scenarios, the plans in scenarios
whimbrel-sim --mutant NAME [--seeds N] directed stories, then seeds, until a checker objects to this bug
whimbrel-sim --mutants                the bugs that a build with the feature mutants can have
";

fn main() -> ExitCode {
    // Daemons are asked to panic; the host catches it.
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        if !text.contains("asked to panic") {
            eprintln!("{text}");
        }
    }));
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| flags.iter().position(|flag| flag == name);
    let value = |name: &str| flag(name).and_then(|at| flags.get(at + 1)).cloned();
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let good = if flag("--mutants").is_some() {
        hunt::list();
        true
    } else if let Some(name) = value("--mutant") {
        hunt::hunt(&name, number("--seeds").unwrap_or(1000))
    } else if let Some(seed) = number("--seed") {
        one(seed, flag("--trace").is_some())
    } else if let Some(count) = number("--seeds") {
        let counted = flag("--coverage").is_some();
        many(number("--from").unwrap_or(0), count, counted, flag("--update").is_some())
    } else if flag("--speed").is_some() {
        speed(number("--speed").unwrap_or(60))
    } else if flag("--directed").is_some() {
        stories(value("--directed").as_deref())
    } else if flag("--scenarios").is_some() {
        scenarios(flag("--update").is_some())
    } else {
        print!("{USAGE}");
        false
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, trace: bool) -> bool {
    let ran = run_seed(seed, trace);
    print!("{}", ran.trace);
    let again = run_seed(seed, false);
    let repeats = ran.digest == again.digest;
    println!("seed {seed} trace {} {:?}", ran.digest, ran.tally);
    if !repeats {
        println!("BROKEN the second run differs: {}", again.digest);
    }
    match ran.violation {
        Some(violation) => println!("BROKEN {violation}"),
        None => return repeats,
    }
    false
}

fn many(from: u64, count: u64, counted: bool, update: bool) -> bool {
    let (start, mut all, mut bad) = (Instant::now(), Tally::default(), 0);
    let mut coverage = Coverage::default();
    for seed in from..from + count {
        let ran =
            if counted { run_seed_counted(seed, &mut coverage) } else { run_seed(seed, false) };
        add(&mut all, &ran.tally);
        if let Some(violation) = ran.violation {
            bad += 1;
            println!("seed {seed}: {violation}");
            println!("    cargo xtask sim --seed {seed} --trace");
        } else if seed % 16 == 0 && run_seed(seed, false).digest != ran.digest {
            bad += 1;
            println!("seed {seed}: the second run differs");
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / seconds;
    println!("{count} seeds, {bad} bad, {rate:.1} seeds/s; {all:?}");
    let covered = !counted || covers(&coverage, update);
    bad == 0 && covered
}

/// Shows what was met, and says whether that is all that is declared.
fn covers(coverage: &Coverage, update: bool) -> bool {
    let (report, good) = coverage.report();
    print!("{report}");
    if !update {
        return good;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/coverage.txt");
    match std::fs::write(path, coverage.declaration()) {
        Ok(()) => true,
        Err(error) => {
            println!("could not write {path}: {error}");
            false
        }
    }
}

/// Measures how many simulated seconds pass in one second.
fn speed(seconds: u64) -> bool {
    let mut speed = Speed::prepare();
    let (start, before) = (Instant::now(), core_seconds());
    let tally = speed.run(seconds);
    let clock = start.elapsed().as_secs_f64();
    // Where the machine says how long this thread ran, others that ran beside it do not count.
    let taken = before.zip(core_seconds()).map_or(clock, |(before, after)| after - before);
    #[allow(clippy::cast_precision_loss, reason = "rates for people")]
    let (ratio, events) = (seconds as f64 / taken, tally.acknowledged as f64 / taken);
    println!(
        "5 nodes, 100 daemons, 10 events/s each: {seconds} s in {taken:.2} s of one core ({clock:.2} s \
         by the clock): {ratio:.0} x real time, {events:.0} acknowledged events/s; {tally:?}"
    );
    if let Some(violation) = speed.violation() {
        println!("BROKEN {violation}");
    }
    speed.violation().is_none()
}

/// How long this thread has run, as Linux tells.
fn core_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanos / 1e9)
}

fn add(all: &mut Tally, one: &Tally) {
    all.events += one.events;
    all.acknowledged += one.acknowledged;
    all.moves += one.moves;
    all.hand_overs += one.hand_overs;
    all.faults += one.faults;
    all.hits += one.hits;
    all.collected += one.collected;
    all.steps += one.steps;
    all.served += one.served;
    all.at_once += one.at_once;
}

fn stories(name: Option<&str>) -> bool {
    let mut good = true;
    for (story, tell) in directed::STORIES {
        if name.is_some_and(|name| !name.starts_with("--") && name != *story) {
            continue;
        }
        let start = Instant::now();
        match tell() {
            Ok(runs) => println!("{story}: {runs} runs, {:.1?}", start.elapsed()),
            Err(failure) => {
                good = false;
                println!("{story}: {failure}");
            }
        }
    }
    good
}

fn scenarios(update: bool) -> bool {
    let stories = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let plans = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
    let told = [
        scenario::run_all(std::path::Path::new(stories), update),
        rehearsal::compare_all(std::path::Path::new(plans), update),
    ];
    let mut good = true;
    for told in told {
        good &= told.is_ok();
        print!("{}", told.unwrap_or_else(|report| report));
    }
    good
}
