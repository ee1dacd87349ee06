//! Decides what is taken in from whom: marks are contiguous, repeats are answered again.
//!
//! The marks are part of the daemon's state. The live owner and every replay change them through
//! [`take`] alone, so a copy that replayed the same turns has the same marks.
//!
//! # Invariants
//!
//! * I1 (nothing twice): a number at or below a sender's mark is never taken again.
//! * I2 (contiguous marks): a number is taken only if it is the mark plus one (rule 16).
//!
//! # Limits
//!
//! * `sessions_max`: beyond it the longest idle session ends if it was idle for `session_idle`,
//!   otherwise a new one is refused as *busy*.
//! * `answers_max`: beyond it the sender is *busy* until it says which answers it has seen.

use whimbrel_mutants::Mutant;
use whimbrel_wire::{
    Answer, ClientId, Digest, EntityId, InputOrigin, Ledger, Outgoing, Position, Sender, Session,
    Time, Turn,
};

use crate::port::Turned;
use crate::settings::Settings;

/// What to do with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one: take it.
    Next,
    /// It was taken before; the answer, if it is still kept.
    Repeat(Option<Answer>),
    /// Another number comes next.
    Gap { expected: u64 },
    /// Another event was taken under this number.
    Forked,
    /// The session is unknown.
    UnknownSession,
    /// Too many answers wait for this sender.
    Full,
}

/// Judges event `number` of `sender`, whose digest is `digest`.
pub(crate) fn judge(
    ledger: &Ledger,
    settings: &Settings,
    sender: &Sender,
    number: u64,
    digest: &Digest,
) -> Verdict {
    let Some(session) = ledger.sessions.get(sender) else {
        return match sender {
            Sender::Host => Verdict::Next,
            _ if Mutant::MarksLeftBehind.is_on() => Verdict::Next,
            Sender::Client { .. } => Verdict::UnknownSession,
            Sender::Daemon(_) if number == 1 => Verdict::Next,
            Sender::Daemon(_) => Verdict::Gap { expected: 1 },
        };
    };
    if number == session.mark && session.last != *digest {
        return Verdict::Forked;
    }
    if number == session.mark && Mutant::RepeatsTaken.is_on() {
        return Verdict::Next;
    }
    if number <= session.mark && !Mutant::MarksIgnored.is_on() {
        return Verdict::Repeat(session.answers.get(&number).cloned());
    }
    let expected = session.mark + 1;
    if number != expected && !Mutant::GapsAccepted.is_on() {
        return Verdict::Gap { expected };
    }
    if session.answers.len() >= settings.answers_max {
        return Verdict::Full;
    }
    Verdict::Next
}

/// Whether one more client may be granted a session at `now`.
pub(crate) fn has_room(ledger: &Ledger, settings: &Settings, now: Time) -> bool {
    ledger.sessions.len() < settings.sessions_max || idle_longest(ledger, settings, now).is_some()
}

/// What the sender of a turn is told. It is left in `turned` only if it is kept for a repeat.
#[inline]
pub(crate) fn answer_of(origin: &InputOrigin, turned: &mut Turned) -> Answer {
    match origin {
        InputOrigin::Event { sender: Sender::Client { .. }, .. }
        | InputOrigin::Poisoned { sender: Sender::Client { .. }, .. } => turned.answer.clone(),
        InputOrigin::Event { .. }
        | InputOrigin::Poisoned { .. }
        | InputOrigin::SessionOpened(_)
        | InputOrigin::Timer(_)
        | InputOrigin::Evolution => std::mem::take(&mut turned.answer),
    }
}

/// Enters a turn that was made: marks, answers, outbox.
#[inline]
pub(crate) fn take(ledger: &mut Ledger, settings: &Settings, turn: &Turn, turned: &Turned) {
    match turn.stamp.origin {
        InputOrigin::Event { sender, number, answered }
        | InputOrigin::Poisoned { sender, number, answered } => {
            mark(ledger, turn, turned, sender, number, answered);
        }
        InputOrigin::SessionOpened(client) => {
            open(ledger, settings, client, turn.position(), turn.stamp.time);
        }
        InputOrigin::Timer(_) | InputOrigin::Evolution => {}
    }
    for (to, event) in &turned.sent {
        let outgoing = ledger.outgoing.entry(*to).or_default();
        outgoing.waiting.push_back(event.clone());
        outgoing.next += 1;
    }
}

/// Strikes out what `to` has acknowledged, up to `number`; says how many outputs that were.
pub(crate) fn acknowledged(ledger: &mut Ledger, to: &EntityId, number: u64) -> usize {
    let Some(outgoing) = ledger.outgoing.get_mut(to) else { return 0 };
    let before = outgoing.waiting.len();
    while first_waiting(outgoing) <= number && outgoing.waiting.pop_front().is_some() {}
    before - outgoing.waiting.len()
}

/// The number of the first output that is not acknowledged.
pub(crate) fn first_waiting(outgoing: &Outgoing) -> u64 {
    outgoing.next.saturating_sub(outgoing.waiting.len() as u64)
}

/// How many outputs are not acknowledged, counted.
pub(crate) fn unacknowledged(ledger: &Ledger) -> usize {
    ledger.outgoing.values().map(|outgoing| outgoing.waiting.len()).sum()
}

fn mark(
    ledger: &mut Ledger,
    turn: &Turn,
    turned: &Turned,
    sender: Sender,
    number: u64,
    answered: u64,
) {
    if sender == Sender::Host {
        return;
    }
    let heard = turn.stamp.time;
    let last = turn.event.digest();
    let session = ledger.sessions.entry(sender).or_insert_with(|| fresh(heard));
    session.mark = number;
    session.last = last;
    session.heard = heard;
    while session.answers.first_key_value().is_some_and(|(number, _)| *number <= answered) {
        session.answers.pop_first();
    }
    if matches!(sender, Sender::Client { .. }) {
        session.answers.insert(number, turned.answer.clone());
    }
}

fn open(ledger: &mut Ledger, settings: &Settings, client: ClientId, session: Position, now: Time) {
    if ledger.sessions.len() >= settings.sessions_max
        && let Some(oldest) = idle_longest(ledger, settings, now)
    {
        ledger.sessions.remove(&oldest);
    }
    ledger.sessions.insert(Sender::Client { client, session }, fresh(now));
}

fn idle_longest(ledger: &Ledger, settings: &Settings, now: Time) -> Option<Sender> {
    ledger
        .sessions
        .iter()
        .filter(|(sender, session)| {
            matches!(sender, Sender::Client { .. })
                && now.since(session.heard) >= settings.session_idle
        })
        .min_by_key(|(_, session)| session.heard)
        .map(|(sender, _)| *sender)
}

const fn fresh(heard: Time) -> Session {
    Session { mark: 0, last: Digest::ZERO, heard, answers: std::collections::BTreeMap::new() }
}
