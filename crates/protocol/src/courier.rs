//! Decides how a sender's events reach a daemon wherever it lives: numbers, repeats, redirects.
//!
//! A courier belongs to one sender and one receiver. It numbers what it is given, keeps it until
//! it is acknowledged, and follows the title. What it believes of the owner is only ever a hint:
//! a redirect carries the deed, and the deed is verified before it is followed.
//!
//! # Invariants
//!
//! * C1 (kept until acked): an event leaves the courier only when it is acknowledged or its sender
//!   was told that it failed.
//! * C2 (order per sender): events are numbered in the order in which they were given.
//!
//! # Limits
//!
//! * `courier_window` events are on their way; `courier_queue_max` wait; beyond it *busy*.
//! * An owner by the title that sends events elsewhere is asked again after a rest that doubles up
//!   to `resend_max`, until the title grows or something is taken.

use std::collections::VecDeque;
use std::time::Duration;

use whimbrel_mutants::Mutant;
use whimbrel_wire::limits::PAYLOAD_BYTES_MAX;
use whimbrel_wire::{
    Answer, CausalEvent, ClientId, DeliveryMessage, EntityId, Epoch, NodeId, Position, Refusal,
    Sender, Time,
};

use crate::desk::Desk;
use crate::port::{Moment, Output, SendError, Ticket};

/// Whose events a courier carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    Client(ClientId),
    Daemon(EntityId),
}

/// The courier of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Courier {
    origin: Origin,
    session: Option<Position>,
    next: u64,
    /// Everything not acknowledged, in order of numbers.
    letters: VecDeque<Letter>,
    /// How many of them were sent to the present owner.
    sent: usize,
    resend_at: Time,
    searching_since: Option<Time>,
    rewound: Option<(u64, Time)>,
    /// The owner says that it is none: nothing is sent before this moment.
    misled: Option<Detour>,
    /// Since when the receiver says that it lacks what it acknowledged. One such answer may be
    /// an old one; an acknowledgement in between disproves it.
    regressed: Option<Time>,
}

/// A rest before an owner that does not obey its deed is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Detour {
    until: Time,
    rest: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Letter {
    number: u64,
    event: CausalEvent,
    ticket: Option<Ticket>,
    done: bool,
}

impl Courier {
    pub(crate) const fn new(origin: Origin, now: Time) -> Self {
        Self {
            origin,
            session: None,
            next: 1,
            letters: VecDeque::new(),
            sent: 0,
            resend_at: now,
            searching_since: None,
            rewound: None,
            misled: None,
            regressed: None,
        }
    }

    /// What its state is called.
    pub(crate) fn state_name(&self) -> &'static str {
        match (self.letters.is_empty(), self.searching_since, self.regressed, self.rewound) {
            (true, ..) => "Idle",
            (false, Some(_), ..) => "Searching",
            (false, None, Some(_), _) => "Regressed",
            (false, None, None, _) if self.misled.is_some() => "Misled",
            (false, None, None, Some(_)) => "Rewound",
            (false, None, None, None) if self.sender().is_none() => "Opening",
            (false, None, None, None) => "Sending",
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.letters.is_empty()
    }

    /// When it wants to be woken.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        (!self.letters.is_empty()).then_some(self.resend_at)
    }

    /// Shows every moment that it remembers.
    pub(crate) fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        see(Moment::Due(&mut self.resend_at));
        self.misled.iter_mut().for_each(|detour| see(Moment::Due(&mut detour.until)));
        let lost = self.searching_since.iter_mut().chain(&mut self.regressed);
        let rewound = self.rewound.as_mut().map(|(_, at)| at);
        lost.chain(rewound).for_each(|since| see(Moment::Since(since)));
    }

    /// A client's event.
    pub(crate) fn send(&mut self, desk: &mut Desk<'_>, ticket: Ticket, event: CausalEvent) {
        if event.payload.len() > PAYLOAD_BYTES_MAX {
            return desk.push(Output::Sent { ticket, result: Err(SendError::TooLarge) });
        }
        if self.letters.len() >= desk.settings().courier_queue_max {
            return desk.push(Output::Sent { ticket, result: Err(SendError::Busy) });
        }
        let number = self.next;
        self.next += 1;
        self.letters.push_back(Letter { number, event, ticket: Some(ticket), done: false });
        self.push_on(desk);
    }

    /// A daemon's output. Its number comes with it; repeats after a start are passed over.
    pub(crate) fn post(&mut self, desk: &mut Desk<'_>, number: u64, event: CausalEvent) {
        if self.letters.back().is_some_and(|letter| number <= letter.number) {
            return;
        }
        self.next = number + 1;
        self.letters.push_back(Letter { number, event, ticket: None, done: false });
        self.push_on(desk);
    }

    /// Sends what the window allows, after a session and an owner are known.
    pub(crate) fn push_on(&mut self, desk: &mut Desk<'_>) {
        let rests = self.misled.is_some_and(|detour| desk.now < detour.until);
        if self.letters.is_empty() || rests {
            return;
        }
        let Some((owner, epoch)) = desk.title.owner().zip(desk.title.epoch()) else {
            return self.search(desk);
        };
        self.searching_since = None;
        let Some(sender) = self.sender() else { return self.open(desk, owner) };
        let window = desk.settings().courier_window.min(self.letters.len());
        if self.sent < window {
            self.resend_at = desk.now + desk.settings().resend_after;
        }
        let answered = self.letters.front().map_or(0, |letter| letter.number - 1);
        for letter in self.letters.iter().take(window).skip(self.sent).filter(|letter| !letter.done)
        {
            let message = DeliveryMessage::Deliver {
                sender,
                number: letter.number,
                answered,
                event: letter.event.clone(),
                reply_to: desk.station.node(),
                epoch,
            };
            desk.delivery(owner, message);
        }
        self.sent = self.sent.max(window);
    }

    fn sender(&self) -> Option<Sender> {
        match self.origin {
            Origin::Daemon(entity) => Some(Sender::Daemon(entity)),
            Origin::Client(client) => {
                self.session.map(|session| Sender::Client { client, session })
            }
        }
    }

    /// Asks for a session, unless it was asked for a moment ago.
    fn open(&mut self, desk: &mut Desk<'_>, owner: NodeId) {
        let Origin::Client(client) = self.origin else { return };
        if self.resend_at > desk.now && self.sent > 0 {
            return;
        }
        self.sent = 1;
        self.resend_at = desk.now + desk.settings().resend_after;
        let reply_to = desk.station.node();
        desk.delivery(owner, DeliveryMessage::OpenSession { client, reply_to });
    }

    fn search(&mut self, desk: &mut Desk<'_>) {
        let fresh = self.searching_since.is_none();
        let since = *self.searching_since.get_or_insert(desk.now);
        if desk.now.since(since) >= desk.settings().search_max && self.fail_clients(desk) {
            return;
        }
        if fresh || self.resend_at <= desk.now {
            desk.ask_all(None);
            self.resend_at = desk.now + desk.settings().resend_after;
        }
    }

    /// Whether it is known to whom anything could be sent.
    fn is_lost(desk: &Desk<'_>) -> bool {
        desk.title.owner().is_none()
    }

    /// Nobody knows the receiver: clients are told, a daemon's outputs wait for ever.
    fn fail_clients(&mut self, desk: &mut Desk<'_>) -> bool {
        let client = matches!(self.origin, Origin::Client(_));
        if client {
            self.fail_all(desk, &SendError::NotFound);
            self.searching_since = None;
        }
        client
    }

    fn fail_all(&mut self, desk: &mut Desk<'_>, error: &SendError) {
        for letter in self.letters.drain(..) {
            if let Some(ticket) = letter.ticket {
                desk.push(Output::Sent { ticket, result: Err(error.clone()) });
            } else if let Origin::Daemon(from) = self.origin {
                // Nobody will ever take it: the sender's outbox must not wait for that.
                desk.push(Output::Posted { from, number: letter.number });
            }
        }
        self.sent = 0;
        // Numbers that were given up leave a gap, so a client begins anew.
        if matches!(self.origin, Origin::Client(_)) {
            (self.session, self.next) = (None, 1);
        }
    }

    /// The owner granted a session.
    pub(crate) fn opened(&mut self, desk: &mut Desk<'_>, session: Position) {
        if self.session.is_none() {
            self.session = Some(session);
            self.sent = 0;
            self.push_on(desk);
        }
    }

    /// The owner took an event.
    pub(crate) fn delivered(
        &mut self,
        desk: &mut Desk<'_>,
        sender: Sender,
        number: u64,
        answer: Answer,
    ) {
        if self.sender() != Some(sender) {
            return;
        }
        let Some(index) = self.index(number) else { return };
        let Some(letter) = self.letters.get_mut(index) else { return };
        if std::mem::replace(&mut letter.done, true) {
            return;
        }
        if let Some(ticket) = letter.ticket {
            desk.push(Output::Sent { ticket, result: Ok(answer) });
        }
        (self.regressed, self.misled) = (None, None);
        self.strike(desk);
        self.resend_at = desk.now + desk.settings().resend_after;
        self.push_on(desk);
    }

    /// Takes off what is done at the front.
    fn strike(&mut self, desk: &mut Desk<'_>) {
        let mut last = None;
        while self.letters.front().is_some_and(|letter| letter.done) {
            last = self.letters.pop_front().map(|letter| letter.number);
            self.sent = self.sent.saturating_sub(1);
        }
        if let (Some(number), Origin::Daemon(from)) = (last, self.origin) {
            desk.push(Output::Posted { from, number });
        }
    }

    fn index(&self, number: u64) -> Option<usize> {
        let first = self.letters.front()?.number;
        usize::try_from(number.checked_sub(first)?).ok()
    }

    /// An event was not taken.
    pub(crate) fn refused(
        &mut self,
        desk: &mut Desk<'_>,
        sender: Sender,
        number: u64,
        refusal: &Refusal,
    ) {
        if self.sender() != Some(sender) {
            return;
        }
        match refusal {
            Refusal::Expected(expected) => self.rewind(desk, *expected),
            Refusal::UnknownSession => self.session_lost(desk),
            Refusal::Deleted => self.fail_all(desk, &SendError::Deleted),
            Refusal::Forked => self.fail_all(desk, &SendError::Forked),
            Refusal::TooLarge => self.fail_all(desk, &SendError::TooLarge),
            Refusal::Moved(_) | Refusal::NotHere => {
                if let Some(index) = self.index(number) {
                    self.sent = self.sent.min(index);
                    if Mutant::LetterDropped.is_on() {
                        drop(self.letters.remove(index));
                    }
                }
                self.rest(desk);
            }
            Refusal::Busy | Refusal::NotRunnable => {
                // The rest of the window came to a full queue as well: it goes out again later.
                if let Some(index) = self.index(number) {
                    self.sent = self.sent.min(index);
                }
                self.resend_at = desk.now + desk.settings().resend_after / 8;
            }
        }
    }

    /// A session was not granted.
    pub(crate) fn session_refused(&mut self, desk: &mut Desk<'_>, refusal: &Refusal) {
        match refusal {
            Refusal::Deleted => self.fail_all(desk, &SendError::Deleted),
            Refusal::Moved(_) | Refusal::NotHere => {
                self.sent = 0;
                self.rest(desk);
            }
            Refusal::Busy
            | Refusal::NotRunnable
            | Refusal::Expected(_)
            | Refusal::UnknownSession
            | Refusal::TooLarge
            | Refusal::Forked => {
                self.resend_at = desk.now + desk.settings().resend_after / 8;
            }
        }
    }

    /// The receiver lacks what was sent before: everything from there goes out again, once for
    /// each burst of such answers.
    fn rewind(&mut self, desk: &mut Desk<'_>, expected: u64) {
        let first = self.letters.front().map_or(self.next, |letter| letter.number);
        if expected < first {
            let since = *self.regressed.get_or_insert(desk.now);
            if desk.now.since(since) >= desk.settings().resend_max {
                self.fail_all(desk, &SendError::ReceiverRegressed);
            }
            return;
        }
        let lately = self.rewound.is_some_and(|(to, at)| {
            to == expected && desk.now.since(at) < desk.settings().resend_after / 4
        });
        if lately {
            return;
        }
        self.rewound = Some((expected, desk.now));
        if let Some(index) = self.index(expected) {
            self.sent = self.sent.min(index);
            self.push_on(desk);
        }
    }

    /// The owner by the title says that it is none. It may not have read its deed yet, or be one that
    /// never will: it is asked again, ever more seldom. A burst of such answers counts once.
    fn rest(&mut self, desk: &Desk<'_>) {
        let settings = desk.settings();
        let before = self.misled.map_or(Duration::ZERO, |detour| detour.rest);
        if self.misled.is_none_or(|detour| detour.until <= desk.now) {
            let rest = (before * 2).clamp(settings.resend_after / 8, settings.resend_max);
            self.misled = Some(Detour { until: desk.now + rest, rest });
        }
        self.resend_at = self.misled.map_or(desk.now, |detour| detour.until);
    }

    /// The session ended: what was on its way may or may not have been taken.
    fn session_lost(&mut self, desk: &mut Desk<'_>) {
        if matches!(self.origin, Origin::Client(_)) {
            self.fail_all(desk, &SendError::SessionLost);
        }
    }

    /// The title has grown: everything unacknowledged goes to the new owner.
    pub(crate) fn title_grew(&mut self, desk: &mut Desk<'_>) {
        (self.sent, self.misled) = (0, None);
        if Mutant::LettersRenumbered.is_on() && matches!(self.origin, Origin::Client(_)) {
            (self.session, self.next) = (None, 1);
            for letter in &mut self.letters {
                letter.number = self.next;
                self.next += 1;
            }
        }
        self.push_on(desk);
    }

    /// Time has passed. A silent owner may be gone: the members are asked too (rule 19).
    pub(crate) fn tick(&mut self, desk: &mut Desk<'_>) {
        if self.letters.is_empty() || self.resend_at > desk.now {
            return;
        }
        if Self::is_lost(desk) {
            return self.search(desk);
        }
        let silent = self.sent > 0 || self.misled.is_some();
        if silent && desk.title.owner().is_some_and(|owner| owner != desk.station.node()) {
            desk.ask_all(None);
        }
        self.sent = 0;
        self.resend_at = desk.now + desk.settings().resend_after;
        self.push_on(desk);
    }
}

/// The epoch that a sender names when it knows none.
pub(crate) const UNKNOWN: Epoch = Epoch::new(0);
