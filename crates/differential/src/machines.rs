//! States that one machine writes and another goes on from.
//!
//! What is written is a state from the middle of a program, by compiled code of this processor, and
//! how the program ends on the engine as it is. Whoever goes on, on whichever tier and processor, has
//! to come to the same end. Programs are made anew from their seeds, which are the same everywhere.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use whimbrel_isolate::fast::{FastCode, Target};
use whimbrel_isolate::reference::ReferenceCode;
use whimbrel_isolate::{Code, DecodeLimits, NanPolicy, Outcome, Trap, VmIsolate, VmState};

use crate::ending::Ending;
use crate::moved::{Listener, Told};
use crate::plain;
use crate::program::{LIMITS, SETTINGS, Subject};
use crate::random::Random;

/// How much is shown of an end that is another.
const SHOWN_MAX: usize = 300;

/// What came of going on, by tier.
#[derive(Debug, Default)]
pub struct GoneOn {
    /// Tiers, and how many states each went on from.
    pub tiers: Vec<(&'static str, u64)>,
    /// States from which a tier came to no end because its calls nested too deep: how deep they may
    /// differs between the tiers.
    pub deep: u64,
    /// States from which a tier came to another end, with what it came to.
    pub differences: Vec<String>,
}

fn listener(subject: &Subject, before: usize) -> Listener {
    let told = Told {
        module: Arc::clone(&subject.module),
        said: Vec::new(),
        before,
        suspends: false,
        random: Random::new(0),
        suspended: 0,
    };
    Listener(Arc::new(Mutex::new(told)))
}

/// Writes states of the programs of these seeds into a folder; how many.
pub fn write(folder: &Path, seeds: Range<u64>) -> Result<u64> {
    fs::create_dir_all(folder)?;
    let engine = plain::engine()?;
    let mut written = 0;
    for seed in seeds {
        let mut random = Random::new(seed);
        let Ok(subject) = Subject::make(&mut random) else { continue };
        let Ok(wanted) = plain::run(&engine, &subject) else { continue };
        let Ok(code) = FastCode::new(&subject.module, SETTINGS) else { continue };
        let Some((call, said, state)) = stopped(&subject, &Code::Fast(code), &mut random) else {
            continue;
        };
        let rest = Ending {
            calls: wanted.calls[call..].to_vec(),
            said: wanted.said[said..].to_vec(),
            ..wanted
        };
        fs::write(folder.join(format!("{seed}.state")), state.encode())?;
        fs::write(folder.join(format!("{seed}.wanted")), format!("{call} {said}\n{rest:?}"))?;
        written += 1;
    }
    Ok(written)
}

/// A state from the middle of a program: in which call, and after how many words to the host.
fn stopped(subject: &Subject, code: &Code, random: &mut Random) -> Option<(usize, usize, VmState)> {
    let listener = listener(subject, 0);
    let state = VmState::initial(&subject.module, subject, NanPolicy::Canonical, LIMITS).ok()?;
    let mut isolate = VmIsolate::spawn(code, state, Box::new(listener.clone())).ok()?;
    if let Some(start) = subject.module.start() {
        let started = isolate.call(start, &[], None);
        if !matches!(started, Outcome::Returned(_)) {
            return None;
        }
    }
    for (number, (_, function, arguments)) in subject.calls.iter().enumerate() {
        let outcome = isolate.call(*function, arguments, Some(1 + random.below(30)));
        if outcome == Outcome::Stopped {
            let said = listener.told().said.len();
            return Some((number, said, isolate.capture().ok()?));
        }
    }
    None
}

/// Goes on from all states in a folder, on every tier of this machine.
pub fn go_on(folder: &Path) -> Result<GoneOn> {
    let mut gone = GoneOn::default();
    let mut names: Vec<u64> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".state")?.parse().ok())
        .collect();
    names.sort_unstable();
    for seed in names {
        let mut random = Random::new(seed);
        let subject = Subject::make(&mut random).map_err(anyhow::Error::msg)?;
        let state = fs::read(folder.join(format!("{seed}.state")))?;
        let text = fs::read_to_string(folder.join(format!("{seed}.wanted")))?;
        let (head, wanted) = text.split_once('\n').context("a head")?;
        let (call, said) = head.split_once(' ').context("two numbers")?;
        let (call, said) = (call.parse()?, said.parse()?);
        let module = &subject.module;
        let codes = [
            ("compiled code", FastCode::new(module, SETTINGS).map(Code::Fast)),
            ("bytecode", FastCode::compiled_to(Target::Bytecode, module, SETTINGS).map(Code::Fast)),
            ("interpreter", ReferenceCode::new(module).map(Code::Reference)),
        ];
        for (tier, code) in codes {
            let Ok(code) = code else { continue };
            let state = VmState::decode(&state, &DecodeLimits::WIDE)?;
            let found = match rest(&subject, &code, state, (call, said)) {
                Ok(Some(ending)) => format!("{ending:?}"),
                Ok(None) => {
                    gone.deep += 1;
                    continue;
                }
                Err(error) => error.to_string(),
            };
            if found != wanted {
                let found: String = found.chars().take(SHOWN_MAX).collect();
                gone.differences.push(format!("seed {seed}, {tier}: {found}"));
            }
            match gone.tiers.iter_mut().find(|(name, _)| *name == tier) {
                Some((_, count)) => *count += 1,
                None => gone.tiers.push((tier, 1)),
            }
        }
    }
    Ok(gone)
}

/// How a program ends that goes on from a state in the middle of a call; `None` if its calls nest too
/// deep for this tier.
fn rest(
    subject: &Subject,
    code: &Code,
    state: VmState,
    (call, said): (usize, usize),
) -> Result<Option<Ending>> {
    let listener = listener(subject, said);
    let mut isolate = VmIsolate::spawn(code, state, Box::new(listener.clone()))?;
    let mut ending = Ending::default();
    for (number, (_, function, arguments)) in subject.calls.iter().enumerate().skip(call) {
        let outcome = if number == call {
            isolate.resume(None)
        } else {
            isolate.call(*function, arguments, None)
        };
        ending.calls.push(match outcome {
            Outcome::Returned(values) => Ok(values),
            Outcome::Trapped(Trap::StackOverflow) => return Ok(None),
            Outcome::Trapped(trap) => Err(trap.to_string()),
            Outcome::Stopped | Outcome::Refused(_) => bail!("it did not end"),
        });
    }
    ending.take(isolate.capture()?, &subject.module);
    ending.said = std::mem::take(&mut listener.told().said);
    Ok(Some(ending))
}
