//! What a host does with a turn.

#![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "helpers of tests")]

use std::collections::BTreeSet;

use bytes::Bytes;
use whimbrel_daemon::fakes::{Churning, Counting};
use whimbrel_daemon::kinds::{Kv, KvCommand};
use whimbrel_daemon::limits::{
    CHANNELS_MAX, MESSAGE_BYTES_MAX, OUTPUTS_PER_TURN_MAX, PUBLISHED_PER_TURN_MAX,
    SUBSCRIPTIONS_MAX, TIMERS_MAX,
};
use whimbrel_daemon::{
    Body, Budget, Capture, ChunkShelf, ChunkSink, Context, Host, HostError, Idle, Input, Limit,
    MeshDaemon, Native, ProcessError, RestoreError, SinkError, StateReader, StateSnapshot, Step,
    Turned, Whole,
};
use whimbrel_wire::{
    CatchUp, CausalEvent, ChannelName, ChunkList, ChunkRef, ClientId, Digest, EntityId, Epoch,
    Head, Hearing, InputOrigin, Kind, Ledger, OriginHash, Purpose, Sender, Start, StateVersion,
    Time, TimerId, decode,
};

const ENTITY: EntityId = EntityId::from_bytes([1; 32]);
const ARRIVAL: InputOrigin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };

fn born(body: Box<dyn Body>) -> Host {
    Host::born(ENTITY, Kind::new("test").unwrap(), body, [3; 32], &Digest::ZERO)
}

fn counting() -> Host {
    born(Native::boxed(Counting::new()))
}

fn event(payload: &[u8]) -> CausalEvent {
    CausalEvent::unchained(OriginHash::new(0), 1, Bytes::copy_from_slice(payload))
}

fn give(host: &mut Host, nanos: u64, payload: &[u8]) -> Result<Turned, HostError> {
    host.turn(host.epoch(), Time::from_nanos(nanos), &ARRIVAL, &event(payload))
}

#[test]
fn outputs_form_one_chain_with_sends_before_answers() {
    let mut host = counting();
    let newborn = Head::newborn(&ENTITY, &Digest::ZERO);
    assert_eq!(host.head(), newborn);
    let payload = [b">".as_slice(), &[5; 32], b"hello"].concat();
    let turned = give(&mut host, 1, &payload).unwrap();
    let [(to, sent)] = &turned.sent[..] else { panic!("{turned:?}") };
    let [answer] = &turned.answer.outputs[..] else { panic!("{turned:?}") };
    assert_eq!(*to, EntityId::from_bytes([5; 32]));
    assert_eq!(&sent.payload[..], b"hello");
    assert_eq!(sent.link.parent, newborn.hash);
    assert_eq!(answer.link.parent, sent.digest());
    assert_eq!(turned.head.hash, answer.digest());
    assert_eq!((turned.head.position.get(), turned.head.sequence.get()), (1, 2));
    assert_eq!((host.head(), host.last()), (turned.head, Some(answer.link)));
}

#[test]
fn a_declined_event_takes_one_position_and_nothing_else() {
    let mut host = counting();
    give(&mut host, 1, b"one").unwrap();
    let (before, state) = (host.head(), host.digest().unwrap());
    let turned = give(&mut host, 2, b"!").unwrap();
    assert_eq!(turned.answer.failure.as_deref(), Some("asked to decline"));
    assert!(turned.answer.outputs.is_empty() && turned.sent.is_empty());
    assert_eq!(turned.head, Head { position: before.position.next(), ..before });
    assert_eq!((host.digest().unwrap(), host.next_timer()), (state, None));
    assert_eq!((host.stats().events_processed, host.stats().errors), (2, 1));
}

#[test]
fn poisoned_events_and_sessions_do_not_reach_the_daemon() {
    let mut host = counting();
    let state = host.digest().unwrap();
    let poisoned = InputOrigin::Poisoned { sender: Sender::Host, number: 0, answered: 0 };
    let turned = host.turn(Epoch::FIRST, Time::ZERO, &poisoned, &event(b"#")).unwrap();
    assert!(turned.answer.failure.is_some());
    let session = InputOrigin::SessionOpened(ClientId::new(1));
    let turned = host.turn(Epoch::FIRST, Time::ZERO, &session, &event(b"")).unwrap();
    assert!(turned.answer.failure.is_none() && turned.answer.outputs.is_empty());
    assert_eq!(turned.head.position.get(), 2);
    assert_eq!(host.digest().unwrap(), state);
}

#[test]
fn a_panic_takes_no_position_and_spoils_the_host() {
    let mut host = counting();
    give(&mut host, 1, b"one").unwrap();
    let head = host.head();
    let error = give(&mut host, 2, b"#").unwrap_err();
    assert_eq!(error, HostError::Panicked("asked to panic".to_owned()));
    assert_eq!(host.head(), head);
    assert_eq!(give(&mut host, 3, b"two"), Err(HostError::Spoilt));
    assert!(host.is_spoilt());
}

#[test]
fn timers_come_due_in_order_and_once() {
    let mut host = counting();
    let soon = [b"@".as_slice(), &50_u64.to_le_bytes()].concat();
    give(&mut host, 100, &soon).unwrap();
    assert_eq!(host.next_timer(), Some((Time::from_nanos(150), TimerId::new(1))));
    let fire = InputOrigin::Timer(TimerId::new(1));
    let fired = host.turn(Epoch::FIRST, Time::from_nanos(160), &fire, &event(b"")).unwrap();
    assert_eq!(fired.head.position.get(), 2);
    assert_eq!(host.next_timer(), None);
    let again = host.turn(Epoch::FIRST, Time::from_nanos(170), &fire, &event(b""));
    assert_eq!(again, Err(HostError::UnknownTimer(TimerId::new(1))));
    assert_eq!(host.head().position.get(), 2);
}

#[test]
fn time_never_goes_back() {
    let mut host = counting();
    give(&mut host, 100, b"one").unwrap();
    give(&mut host, 40, b"two").unwrap();
    assert_eq!(host.time(), Time::from_nanos(100));
    let mut replay = counting();
    give(&mut replay, 100, b"one").unwrap();
    give(&mut replay, 100, b"two").unwrap();
    assert_eq!(host.fingerprint().unwrap(), replay.fingerprint().unwrap());
}

#[test]
fn a_turn_of_another_epoch_is_refused_and_a_hand_over_is_a_step_of_the_chain() {
    let mut host = counting();
    give(&mut host, 1, b"one").unwrap();
    let second = Epoch::FIRST.next();
    let refused = host.turn(second, Time::ZERO, &ARRIVAL, &event(b"two"));
    assert_eq!(refused, Err(HostError::Epoch { expected: Epoch::FIRST, found: second }));
    let deed = Digest::of(Purpose::Deed, b"a deed");
    let through = host.head().through_deed(&deed);
    host.enter_epoch(second, &deed);
    assert_eq!(host.head(), through);
    let turned = give(&mut host, 2, b"two").unwrap();
    let link = turned.answer.outputs[0].link;
    assert_eq!((link.epoch, link.parent), (second, through.hash));
}

/// Draws random numbers in pieces of different length.
struct Drawing(Vec<usize>);

impl MeshDaemon for Drawing {
    fn name(&self) -> &str {
        "drawing"
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let mut all = Vec::new();
        for &count in &self.0 {
            let mut piece = vec![0; count];
            context.fill_random(&mut piece);
            all.extend_from_slice(&piece);
        }
        Ok(vec![all.into()])
    }
}

#[test]
fn randomness_is_deterministic_however_it_is_drawn() {
    let draw = |cuts: &[usize], seed: u8| {
        let body = Native::boxed(Drawing(cuts.to_vec()));
        let kind = Kind::new("drawing").unwrap();
        let mut host = Host::born(ENTITY, kind, body, [seed; 32], &Digest::ZERO);
        let first = give(&mut host, 1, b"").unwrap().answer.outputs.remove(0).payload;
        let second = give(&mut host, 2, b"").unwrap().answer.outputs.remove(0).payload;
        (first, second)
    };
    let whole = draw(&[200], 3);
    assert_eq!(whole, draw(&[1, 62, 1, 64, 8, 64], 3));
    assert_ne!(whole.0, whole.1);
    assert_ne!(whole.0, draw(&[200], 4).0);
}

fn channel(index: usize) -> ChannelName {
    ChannelName::new(index.to_string()).unwrap()
}

/// Puts out too much of something.
struct Greedy(Limit);

impl MeshDaemon for Greedy {
    fn name(&self) -> &str {
        "greedy"
    }

    fn process(
        &mut self,
        context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        let half = Bytes::from(vec![0; 300 * 1024]);
        match self.0 {
            Limit::Outputs => return Ok(vec![Bytes::new(); OUTPUTS_PER_TURN_MAX + 1]),
            Limit::PayloadBytes => context.send(ENTITY, vec![0; 600 * 1024]),
            Limit::AnswerBytes => return Ok(vec![half.clone(), half]),
            Limit::SentBytes => (0..20).for_each(|_| context.send(ENTITY, half.clone())),
            Limit::Timers => (0..=TIMERS_MAX as u64)
                .for_each(|timer| context.set_timer(TimerId::new(timer), Time::ZERO)),
            Limit::Published => {
                (0..=PUBLISHED_PER_TURN_MAX).for_each(|_| context.publish(channel(0), Bytes::new()))
            }
            Limit::MessageBytes => context.publish(channel(0), vec![0; MESSAGE_BYTES_MAX + 1]),
            Limit::Channels => {
                (0..=CHANNELS_MAX).for_each(|index| context.open_channel(channel(index), 0));
            }
            Limit::Subscriptions => (0..=SUBSCRIPTIONS_MAX).for_each(|index| {
                let (hearing, start) = (Hearing::All, Start::Next);
                context.subscribe(EntityId::from_bytes([2; 32]), channel(index), hearing, start);
            }),
            _ => unreachable!("the test names each"),
        }
        Ok(Vec::new())
    }
}

#[test]
fn a_daemon_that_asks_for_too_much_spoils_its_host() {
    let limits = [
        Limit::Outputs,
        Limit::PayloadBytes,
        Limit::AnswerBytes,
        Limit::SentBytes,
        Limit::Timers,
        Limit::Published,
        Limit::MessageBytes,
        Limit::Channels,
        Limit::Subscriptions,
    ];
    for limit in limits {
        let mut host = born(Native::boxed(Greedy(limit)));
        let head = host.head();
        assert_eq!(give(&mut host, 1, b""), Err(HostError::Exceeded(limit)));
        assert_eq!(host.head(), head);
        assert_eq!(give(&mut host, 1, b""), Err(HostError::Spoilt));
    }
}

/// Needs some steps for each event, or never ends.
struct Slow {
    steps: Option<u32>,
    left: u32,
}

impl Body for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn catch_up(&self) -> CatchUp {
        CatchUp::Replay
    }

    fn version(&self) -> StateVersion {
        StateVersion::new(1)
    }

    fn turn(
        &mut self,
        _context: &mut Context<'_>,
        input: Input<'_>,
        _budget: Budget,
    ) -> Result<Step, ProcessError> {
        match (input, self.steps) {
            (Input::Event(_), Some(steps)) => self.left = steps,
            (Input::More, Some(_)) => self.left -= 1,
            (Input::Timer(_) | Input::News(_) | Input::Evolution(_), _) | (_, None) => {
                return Ok(Step::Yield);
            }
        }
        if self.left > 0 {
            return Ok(Step::Yield);
        }
        Ok(Step::Blocked(vec![Bytes::from_static(b"so far")]))
    }

    fn capture(&mut self) -> std::sync::Arc<dyn whimbrel_daemon::FrozenState> {
        std::sync::Arc::new(Whole::new(Bytes::new()))
    }

    fn restore(
        &mut self,
        _version: StateVersion,
        _state: &mut StateReader<'_>,
    ) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[test]
fn a_body_may_yield_within_its_turn_and_not_for_ever() {
    let mut host = born(Box::new(Slow { steps: Some(5), left: 0 }));
    let turned = give(&mut host, 1, b"").unwrap();
    assert_eq!(turned.answer.outputs[0].payload, "so far");
    assert_eq!(turned.head.position.get(), 1);
    let mut host = born(Box::new(Slow { steps: None, left: 0 }));
    assert_eq!(give(&mut host, 1, b""), Err(HostError::Stuck));
    assert_eq!(give(&mut host, 1, b""), Err(HostError::Spoilt));
}

/// Panics when it reads its state.
struct Fragile;

impl MeshDaemon for Fragile {
    fn name(&self) -> &str {
        "fragile"
    }

    fn process(
        &mut self,
        _context: &mut Context<'_>,
        _event: &CausalEvent,
    ) -> Result<Vec<Bytes>, ProcessError> {
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::from_static(b"state"))
    }

    fn restore(&mut self, _state: &[u8]) -> Result<(), RestoreError> {
        panic!("at the sight of it")
    }
}

#[test]
fn a_panic_while_restoring_is_an_error() {
    let mut host = born(Native::boxed(Fragile));
    let snapshot = StateSnapshot::of(host.capture().unwrap(), Ledger::default());
    let tried = snapshot.unwrap().host(host.kind(), Native::boxed(Fragile)).map(drop);
    assert_eq!(tried, Err(RestoreError::Panicked("at the sight of it".to_owned())));
}

#[test]
fn a_state_without_pages_that_claims_to_be_huge_is_refused_before_it_is_read() {
    let mut host = counting();
    let mut shelf = ChunkShelf::new();
    let parts = host.capture().unwrap().write(&mut shelf).unwrap();
    let luggage = parts.host.clone();
    let mut manifest = parts.manifest(Ledger::default(), &mut shelf).unwrap();
    manifest.state.bytes = 1 << 40;
    manifest.state.chunks = u32::MAX;
    let body = Native::boxed(Counting::new());
    let tried = Host::restore(&manifest.kind, &manifest, &luggage, body, &mut shelf).map(drop);
    assert_eq!(tried, Err(RestoreError::TooLarge { bytes: 1 << 40 }));
}

/// Notes in which order chunks come.
#[derive(Default)]
struct Order(Vec<Bytes>);

impl ChunkSink for Order {
    fn wants(&mut self, _chunk: &ChunkRef) -> Result<bool, SinkError> {
        Ok(true)
    }

    fn put(&mut self, chunk: ChunkRef, bytes: Bytes) -> Result<(), SinkError> {
        assert!(chunk.names(&bytes));
        self.0.push(bytes);
        Ok(())
    }
}

#[test]
fn a_sink_is_given_lists_last() {
    let mut host = born(Native::boxed(Kv::new()));
    for index in 0..600_u16 {
        let put = KvCommand::Put { key: &index.to_be_bytes(), value: &[1; 9000] };
        give(&mut host, 1, &put.to_bytes()).unwrap();
    }
    let mut order = Order::default();
    let state = host.capture().unwrap().write(&mut order).unwrap().state;
    let mut seen = BTreeSet::new();
    let mut lists = 0;
    for bytes in &order.0 {
        let name = ChunkRef::of(bytes);
        if state.lists.contains(&name) {
            let ChunkList(chunks) = decode(bytes).unwrap();
            assert!(chunks.iter().all(|chunk| seen.contains(chunk)));
            lists += 1;
        }
        seen.insert(name);
    }
    assert_eq!(lists, state.lists.len());
    assert_eq!(order.0.len(), state.lists.len() + state.chunks as usize);
}

#[test]
fn a_sink_is_not_given_what_it_has() {
    let mut host = born(Native::boxed(Kv::new()));
    for index in 0..200_u8 {
        give(&mut host, 1, &KvCommand::Put { key: &[index], value: &[1; 9000] }.to_bytes())
            .unwrap();
    }
    let mut shelf = ChunkShelf::new();
    host.capture().unwrap().write(&mut shelf).unwrap();
    let before = shelf.len();
    host.capture().unwrap().write(&mut shelf).unwrap();
    assert_eq!(shelf.len(), before);
    // One page and the list that names it.
    give(&mut host, 1, b"put \x01 changed").unwrap();
    host.capture().unwrap().write(&mut shelf).unwrap();
    assert_eq!(shelf.len(), before + 2);
}

#[test]
fn memory_that_changes_by_itself_is_seen_in_the_next_capture_and_only_what_changed() {
    let mut host = born(Box::new(Churning::new()));
    host.idle(Budget(100)).unwrap();
    let mut shelf = ChunkShelf::new();
    let first = host.capture().unwrap().write(&mut shelf).unwrap();
    let (before, head) = (shelf.len(), host.head());
    assert_eq!(host.idle(Budget(1)), Ok(Idle::Working));
    let second = host.capture().unwrap().write(&mut shelf).unwrap();
    assert_ne!(first.state.digest(), second.state.digest());
    assert_eq!(host.head(), head);
    // The frame with the registers, the one that it wrote, and the list.
    assert_eq!(shelf.len(), before + 3);
}

#[test]
fn a_host_and_its_captures_can_go_to_other_threads() {
    fn goes<T: Send + 'static>() {}
    goes::<Host>();
    goes::<Capture>();
    goes::<StateSnapshot>();
}
