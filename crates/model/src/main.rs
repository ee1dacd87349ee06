//! Decides what the command says: which stories are explored, and how the outcome reads.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use whimbrel_model::{Limits, Plan, Story, Survey, explore, stories, story};
use whimbrel_mutants::{Mutant, choose};

const USAGE: &str = "\
whimbrel-model [--config NAME] [--limits WAKES,OVERSLEEPS,REPEATS,CRASHES,DISK_FAULTS,COPIES_LOST]
               [--states-max N] [--rest-every N] [--seed N] [--list] [--mutant NAME]
";

/// States beyond which the search for a deliberate bug goes on with the next story.
const BUG_STATES_MAX: u64 = 3_000_000;

/// Stories that are for a night.
const NIGHT: [&str; 3] = ["deep", "thrice", "client-late"];

struct Wishes {
    config: Option<String>,
    limits: Option<Limits>,
    plan: Plan,
    list: bool,
    mutant: Option<Mutant>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match wishes(&arguments) {
        Some(wishes) if wishes.list => {
            for story in stories() {
                println!("{:<16} {}\n{:<16} {:?}", story.name, story.about, "", story.limits);
            }
            ExitCode::SUCCESS
        }
        Some(wishes) if wishes.mutant.is_some() => hunt(&wishes),
        Some(wishes) => survey(&wishes),
        None => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn wishes(arguments: &[String]) -> Option<Wishes> {
    let plan = Plan { states_max: u64::MAX, rest_every: 1, seed: 1 };
    let mut wishes = Wishes { config: None, limits: None, plan, list: false, mutant: None };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--config" => wishes.config = Some(words.next()?.clone()),
            "--limits" => wishes.limits = Some(limits(words.next()?)?),
            "--states-max" => wishes.plan.states_max = words.next()?.parse().ok()?,
            "--rest-every" => wishes.plan.rest_every = words.next()?.parse().ok()?,
            "--seed" => wishes.plan.seed = words.next()?.parse().ok()?,
            "--list" => wishes.list = true,
            "--mutant" => wishes.mutant = Some(Mutant::named(words.next()?)?),
            _ => return None,
        }
    }
    Some(wishes)
}

fn limits(words: &str) -> Option<Limits> {
    let numbers: Result<Vec<u8>, _> = words.split(',').map(str::parse).collect();
    let [wakes, oversleeps, repeats, crashes, disk_faults, copies_lost] = numbers.ok()?[..] else {
        return None;
    };
    let limits = Limits { wakes, oversleeps, repeats, crashes, disk_faults, copies_lost };
    limits.fit().then_some(limits)
}

/// The stories that were asked for: one, or all that are not too long.
fn chosen(wishes: &Wishes) -> Option<Vec<Story>> {
    let mut chosen = match &wishes.config {
        Some(name) => vec![story(name)?],
        // A bug may show in the first states of a long story; in those of the longest it does not.
        None if wishes.mutant.is_some() => {
            stories().into_iter().filter(|story| story.name != NIGHT[0]).collect()
        }
        None => stories().into_iter().filter(|story| !NIGHT.contains(&story.name)).collect(),
    };
    for story in &mut chosen {
        story.limits = wishes.limits.unwrap_or(story.limits);
    }
    Some(chosen)
}

fn survey(wishes: &Wishes) -> ExitCode {
    let Some(chosen) = chosen(wishes) else {
        eprintln!("there is no such configuration; --list shows them");
        return ExitCode::from(2);
    };
    println!(
        "{:<16} {:>11} {:>12} {:>5} {:>8} {:>8} {:>9} {:>11} {:>10} {:>7} {:>7}",
        "story",
        "states",
        "steps",
        "depth",
        "nodes",
        "messages",
        "handled",
        "rested",
        "way",
        "s",
        "MiB"
    );
    for story in chosen {
        let name = story.name;
        let started = Instant::now();
        let survey = explore(story, wishes.plan);
        let seconds = started.elapsed().as_secs_f64();
        println!("{}", row(name, &survey, seconds));
        if let Some((broken, lines)) = &survey.broken {
            println!("\n{}", lines.join("\n"));
            println!("\n{} broken: {}", broken.promise, broken.what);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn row(name: &str, survey: &Survey, seconds: f64) -> String {
    let Survey { states, steps, depth, nodes, messages, handled, rested, longest, .. } = survey;
    let all = if survey.complete { "all" } else { "part" };
    let way = format!("{}/{}", longest.steps, longest.wakes);
    let lost = if survey.overflows > 0 {
        format!(" ({} overflows)", survey.overflows)
    } else {
        String::new()
    };
    format!(
        "{name:<16} {states:>11} {steps:>12} {depth:>5} {nodes:>8} {messages:>8} {handled:>9} \
         {rested:>11} {way:>10} {seconds:>7.1} {:>7} {all}{lost}",
        memory_mib()
    )
}

/// The most memory that this process ever had, as the kernel says; zero where it does not say.
fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// Looks for a deliberate bug. The last line says by what it was found.
fn hunt(wishes: &Wishes) -> ExitCode {
    if !choose(wishes.mutant) {
        println!("this build has no bugs; build it with the feature mutants");
        return ExitCode::FAILURE;
    }
    let mut states = 0;
    let mut count = 0;
    for story in chosen(wishes).unwrap_or_default() {
        let name = story.name;
        let plan = Plan { states_max: BUG_STATES_MAX, ..wishes.plan };
        let survey = explore(story, plan);
        states += survey.states;
        count += 1;
        if let Some((broken, lines)) = survey.broken {
            let (promise, what) = (broken.promise, broken.what.replace('\n', " "));
            println!("{}", lines.join("\n"));
            println!(
                "found by model {name} after {states} states, depth {}: {promise} broken at {} \
                 steps: {what}",
                survey.depth,
                survey.depth + 1,
            );
            return ExitCode::SUCCESS;
        }
    }
    println!("not found by the model in {count} stories and {states} states");
    ExitCode::FAILURE
}
