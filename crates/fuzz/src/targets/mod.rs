//! The targets, and where their corpus comes from.

mod daemons;
mod plans;
mod store;
mod surfaces;
mod trust;
mod words;

use crate::driver::Target;

/// All of them.
pub const ALL: &[Target] = &[
    words::FRAMES,
    words::WORDS,
    words::DEEDS,
    words::KINDS,
    daemons::COMMANDS,
    daemons::ANSWERS,
    daemons::SNAPSHOTS,
    daemons::RESTORES,
    daemons::MAPS,
    store::LISTS,
    store::ENGINES,
    surfaces::STREAMS,
    surfaces::ENVELOPES,
    surfaces::ADMIN,
    surfaces::TRACES,
    surfaces::CHARTS,
    surfaces::DOCUMENTS,
    plans::PLANS,
    plans::RECORDINGS,
    trust::TOKENS,
    trust::LOGS,
];

/// The target of a name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// Gives the target of a name one input; for programs that bring their own inputs.
///
/// # Panics
///
/// When the target does not take it, or there is none.
pub fn run(name: &str, input: &[u8]) {
    let target = named(name).expect("a target of this name exists");
    (target.run)(input);
}

/// The inputs from which the corpus of each target was made: what the present code encodes.
#[must_use]
pub fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "frames" => words::frames(),
        "words" => words::words(),
        "deeds" => words::deeds(),
        "kinds" => words::kinds(),
        "commands" => daemons::commands(),
        "answers" => daemons::answers(),
        "snapshots" => daemons::snapshots(),
        "restores" => daemons::restores(),
        "maps" => daemons::maps(),
        "lists" => store::lists(),
        "engines" => store::engines(),
        "streams" => surfaces::streams(),
        "envelopes" => surfaces::envelopes(),
        "admin" => surfaces::admin(),
        "traces" => surfaces::traces(),
        "charts" => surfaces::charts(),
        "documents" => surfaces::documents(),
        "plans" => plans::plans(),
        "recordings" => plans::recordings(),
        "tokens" => trust::tokens(),
        "logs" => trust::logs(),
        _ => Vec::new(),
    }
}
