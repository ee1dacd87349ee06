//! Shows what the kind `isolate` does: what it answers, what travels, what it refuses.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_daemon::conformance::{self, Subject};
use whimbrel_daemon::{Body, Host, StateSnapshot, Turned};
use whimbrel_wire::{
    CausalEvent, Digest, EntityId, InputOrigin, Kind, Ledger, OriginHash, Sender, Time, TimerId,
};

use super::{Beginnings, Founding, Isolate, Library, Policy};

const COUNTER: &str = include_str!("../../../../examples/guests/counter.wat");

const MILLI: u64 = 1_000_000;

fn kind() -> Kind {
    Kind::new(Isolate::NAME).unwrap()
}

fn counter() -> Vec<u8> {
    wat::parse_str(COUNTER).unwrap()
}

struct Asked {
    host: Host,
    library: Arc<Library>,
}

impl Asked {
    fn born(given: &[u8]) -> Result<Self, String> {
        Self::born_at(&Arc::new(Library::default()), given)
    }

    fn born_at(library: &Arc<Library>, given: &[u8]) -> Result<Self, String> {
        let library = Arc::clone(library);
        let entity = EntityId::from_bytes([9; 32]);
        let body = Isolate::boxed(&library);
        let mut host = Host::born(entity, kind(), body, [7; 32], &Digest::ZERO);
        host.found(Some(given)).map_err(|misfit| misfit.to_string())?;
        Ok(Self { host, library })
    }

    fn turn(&mut self, millis: u64, origin: &InputOrigin, payload: &[u8]) -> Turned {
        let event = CausalEvent::unchained(OriginHash::new(0), 1, Bytes::copy_from_slice(payload));
        let at = Time::from_nanos(millis * MILLI);
        self.host.turn(self.host.epoch(), at, origin, &event).unwrap()
    }

    fn tell(&mut self, millis: u64, payload: &[u8]) -> Turned {
        let origin = InputOrigin::Event { sender: Sender::Host, number: 0, answered: 0 };
        self.turn(millis, &origin, payload)
    }

    /// What it answers, or why it declines.
    fn ask(&mut self, payload: &str) -> String {
        let answer = self.tell(5, payload.as_bytes()).answer;
        if let Some(failure) = answer.failure {
            return format!("declined: {failure}");
        }
        let lines = answer.outputs.iter().map(|event| String::from_utf8_lossy(&event.payload));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Goes on from a snapshot in bytes, on a node with this library.
    fn moved(&mut self, library: &Arc<Library>) -> Result<Self, String> {
        let capture = self.host.capture().map_err(|error| error.to_string())?;
        let snapshot = StateSnapshot::of(capture, Ledger::default());
        let bytes = snapshot.map_err(|error| error.to_string())?.to_bytes();
        let snapshot = StateSnapshot::from_bytes(bytes).map_err(|error| error.to_string())?;
        let library = Arc::clone(library);
        let host =
            snapshot.host(&kind(), Isolate::boxed(&library)).map_err(|error| error.to_string())?;
        Ok(Self { host, library })
    }
}

#[test]
fn an_isolate_passes_the_battery() {
    let library = Arc::new(Library::default());
    let fresh: &dyn Fn() -> Box<dyn Body> = &|| Isolate::boxed(&library);
    let round = ["add", "get", "no", "trap", "loop", "deep", "flood", "wait", "publish", "roll"];
    let rest = ["when", "fill", "memory", "add more", "", "get"];
    let events = round.iter().chain(&rest).chain(&round);
    let events = events.map(|event| Bytes::from_static(event.as_bytes())).collect();
    let founding = Founding {
        memory_bytes_max: Some(512 << 10),
        polls_max: Some(20_000),
        ..Founding::default()
    };
    let given = [founding.in_front(), counter()].concat();
    conformance::check(&Subject { kind: kind(), fresh, given: Some(&given), events }).unwrap();
}

#[test]
fn whole_turns_happen_or_nothing_and_the_sender_is_told_why() {
    let founding = Founding { polls_max: Some(10_000), ..Founding::default() };
    let given = [founding.in_front(), counter()].concat();
    let mut counter = Asked::born(&given).unwrap();
    assert_eq!(counter.ask("add"), "1");
    let before = counter.host.digest().unwrap();
    for (event, why) in [
        ("no", "declined: not today"),
        ("trap", "declined: the guest trapped: unreachable was reached"),
        ("loop", "declined: the turn does not end: more than 10000 looks"),
        ("deep", "declined: the guest trapped: the stack is exhausted"),
        ("flood", "declined: the guest trapped: the host: the turn puts out more than it may"),
    ] {
        let told = counter.ask(event);
        assert!(
            told.starts_with(why) || event == "deep" && told.contains("does not end"),
            "{told}"
        );
        assert_eq!(counter.host.digest().unwrap(), before, "{event} changed something");
    }
    assert_eq!(counter.ask("add"), "2");
    // Also without an image in between.
    assert_eq!(counter.ask("trap"), "declined: the guest trapped: unreachable was reached");
    assert_eq!(counter.ask("add"), "3");
}

#[test]
fn it_begins_by_itself_and_its_timers_are_those_of_its_host() {
    let mut asked = Asked::born(&counter()).unwrap();
    let (due, begin) = asked.host.next_timer().unwrap();
    assert_eq!(due, Time::ZERO);
    asked.turn(4, &InputOrigin::Timer(begin), b"");
    asked.tell(5, b"wait");
    assert_eq!(asked.host.next_timer(), Some((Time::from_nanos(6 * MILLI), TimerId::new(7))));
    let mut copy = asked.moved(&Arc::new(Library::default())).unwrap();
    for asked in [&mut asked, &mut copy] {
        asked.turn(6, &InputOrigin::Timer(TimerId::new(7)), b"");
        assert_eq!(asked.ask("get"), "101");
        assert_eq!(asked.ask("when"), (6 * MILLI).to_string());
    }
    assert_eq!(asked.ask("roll"), copy.ask("roll"));
    assert_eq!(asked.host.digest(), copy.host.digest());
}

#[test]
fn what_it_sends_and_publishes_goes_out_after_the_turn() {
    let mut asked = Asked::born(&counter()).unwrap();
    let turned = asked.tell(5, &[b"tell ", &[5_u8; 32][..]].concat());
    let sent: Vec<_> = turned.sent.iter().map(|(to, event)| (*to, event.payload.clone())).collect();
    assert_eq!(sent, [(EntityId::from_bytes([5; 32]), Bytes::from_static(b"add"))]);
    asked.tell(5, b"publish");
    assert_eq!(asked.host.publications().len(), 1);
    let mut short = Asked::born(&counter()).unwrap();
    let told = short.ask("tell nobody");
    assert_eq!(told, "", "the 32 bytes are taken from what lies there");
}

#[test]
fn memory_grows_as_far_as_its_limit_and_has_one_encoding_in_pages() {
    let founding = Founding { memory_bytes_max: Some(8 << 20), ..Founding::default() };
    let given = [founding.in_front(), counter()].concat();
    let mut asked = Asked::born(&given).unwrap();
    assert_eq!(asked.ask("memory"), "128");
    assert_eq!(asked.ask("fill"), "");
    let mut copy = asked.moved(&Arc::new(Library::default())).unwrap();
    assert_eq!(copy.ask("add"), asked.ask("add"));
    assert_eq!(asked.host.digest(), copy.host.digest());
    let names = |asked: &mut Asked| asked.host.capture().unwrap().state_ref().lists;
    let before = names(&mut asked);
    asked.ask("add");
    let after = names(&mut asked);
    assert_eq!(before.len(), after.len());
    assert_eq!(before[1], after[1], "the module has the name that it had");
}

#[test]
fn a_node_refuses_what_it_does_not_allow_before_it_runs() {
    let mut asked = Asked::born(&counter()).unwrap();
    let narrow = Policy { memory_bytes_max: 1 << 20, ..Policy::default() };
    let narrow = Arc::new(Library::new(narrow));
    let told = asked.moved(&narrow).err().unwrap();
    assert!(told.contains("memory of 67108864 is more than the 1048576"), "{told}");
    let founding = Founding { memory_bytes_max: Some(2 << 20), ..Founding::default() };
    let given = [founding.in_front(), counter()].concat();
    let told = Asked::born_at(&narrow, &given).err().unwrap();
    assert!(told.contains("this node allows"), "{told}");
    let small = Policy { module_bytes_max: 64, ..Policy::default() };
    let told = asked.moved(&Arc::new(Library::new(small))).err().unwrap();
    assert!(told.contains("larger than allowed"), "{told}");
}

#[test]
fn what_cannot_be_an_isolate_is_not_born() {
    let told = |text: &str| Asked::born(&wat::parse_str(text).unwrap()).err().unwrap();
    assert!(told("(module)").contains("neither a reactor nor a program"));
    let all = r#"(module (import "env" "f" (func)) (import "whimbrel" "answer" (func))
        (memory 1) (func (export "whimbrel_alloc") (param i32) (result i32) (i32.const 0))
        (func (export "on_event") (param i32 i32)))"#;
    let missing = told(all);
    assert_eq!(missing, "the module imports what is not supplied: env.f");
    let other_type = told(&all.replace(r#"(import "env" "f" (func))"#, ""));
    assert_eq!(other_type, "import whimbrel.answer: the function has another type");
    let no_alloc = told(r#"(module (memory 1) (func (export "on_event") (param i32 i32)))"#);
    assert_eq!(no_alloc, "the module does not export whimbrel_alloc");
    assert!(told(r#"(module (memory 1 1 shared) (func (export "on_event")))"#).contains("threads"));
    assert!(Asked::born(b"nonsense").err().unwrap().contains("binary format"));
    assert!(Asked::born(b"\0asm nonsense").err().unwrap().contains("not a valid module"));
    assert!(Asked::born(&Founding::default().in_front()).err().unwrap().contains("binary"));
}

#[test]
fn a_guest_that_gives_no_room_declines_and_lives() {
    let text = r#"(module (memory 1)
        (func (export "whimbrel_alloc") (param i32) (result i32) (i32.const -1))
        (func (export "on_event") (param i32 i32)))"#;
    let mut asked = Asked::born(&wat::parse_str(text).unwrap()).unwrap();
    let why = "declined: the guest gave no room of 2 bytes within its memory";
    assert_eq!(asked.ask("hi"), why);
    assert_eq!(asked.ask("hi"), why);
}

#[test]
fn many_turns_are_undone_from_images_in_between() {
    let mut asked = Asked::born(&counter()).unwrap();
    for number in 1..1_000 {
        assert_eq!(asked.ask("add"), number.to_string());
        if number % 97 == 0 {
            assert_eq!(asked.ask("no"), "declined: not today");
        }
    }
    assert!(Arc::strong_count(&asked.library) > 1);
}

/// A program in text: writes a line, computes, waits, echoes its input, ends with code 3.
const ECHO: &str = include_str!("../../../../examples/guests/echo.wat");

/// Runs a program until it waits or is over; moves it between any two slices if it is told so.
fn run(asked: &mut Asked, millis: &mut u64, moves: bool) {
    while let Some((due, timer)) = asked.host.next_timer() {
        *millis = (*millis + 10).max(due.as_nanos().div_ceil(MILLI));
        asked.turn(*millis, &InputOrigin::Timer(timer), b"");
        if moves {
            *asked = asked.moved(&asked.library.clone()).unwrap();
        }
    }
}

/// What the program has put out so far, and the state in which it is.
fn output(asked: &mut Asked, millis: u64) -> (String, String) {
    let answers = asked.tell(millis, b"take 0 0").answer.outputs;
    let texts: Vec<String> =
        answers.iter().map(|event| String::from_utf8_lossy(&event.payload).into_owned()).collect();
    (texts[0].clone(), texts[1..].concat())
}

fn born_program(seed: bool) -> Asked {
    let beginnings = Beginnings {
        args: vec!["echo".to_owned(), "twice".to_owned()],
        seed: seed.then_some([3; 32]),
        ..Beginnings::default()
    };
    let founding = Founding { beginnings, polls_max: Some(100_000), ..Founding::default() };
    let module = wat::parse_str(ECHO).unwrap();
    Asked::born(&[founding.in_front(), module].concat()).unwrap()
}

#[test]
fn a_program_moved_after_each_slice_has_the_same_slices_output_and_memory() {
    let lives = [false, true].map(|moves| {
        let (mut asked, mut millis) = (born_program(true), 10);
        run(&mut asked, &mut millis, moves);
        let (standing, _) = output(&mut asked, millis);
        assert!(standing.contains("\"state\":\"waiting\""), "{standing}");
        asked.tell(millis, b"in one\n");
        run(&mut asked, &mut millis, moves);
        asked.tell(millis, b"in two\n");
        asked.tell(millis, b"end");
        run(&mut asked, &mut millis, moves);
        let (standing, out) = output(&mut asked, millis);
        assert!(standing.contains("\"state\":\"exited\",\"code\":3"), "{standing}");
        (standing, out, asked.ask("?hashes"), asked.host.digest().unwrap())
    });
    assert_eq!(lives[0], lives[1]);
    assert!(lives[0].1.starts_with("counted\none\ntwo\n"), "{}", lives[0].1);
    assert!(lives[0].0.contains("\"slices\":"), "{}", lives[0].0);
}

#[test]
fn a_pause_holds_a_program_and_a_poll_has_the_rest_of_its_time_afterwards() {
    let (mut asked, mut millis) = (born_program(true), 10);
    let first = asked.host.next_timer().unwrap().1;
    asked.turn(millis, &InputOrigin::Timer(first), b"");
    let paused = asked.tell(millis, b"pause").answer.outputs;
    assert!(String::from_utf8_lossy(&paused[0].payload).contains("paused"));
    assert_eq!(asked.host.next_timer(), None);
    asked = asked.moved(&Arc::new(Library::default())).unwrap();
    asked.tell(millis + 5, b"resume");
    run(&mut asked, &mut millis, false);
    assert!(output(&mut asked, millis).0.contains("waiting"));
}

#[test]
fn a_program_passes_the_battery() {
    let library = Arc::new(Library::default());
    let fresh: &dyn Fn() -> Box<dyn Body> = &|| Isolate::boxed(&library);
    let words = ["?status", "in a\n", "take 0 0", "pause", "in b\n", "resume", "?hashes", "end"];
    let more = ["nonsense", "take 8 0", "in c\n", "take 1 1", "?status"];
    let events = words.iter().chain(&more).map(|word| Bytes::from_static(word.as_bytes()));
    let module = wat::parse_str(ECHO).unwrap();
    let events = events.collect();
    conformance::check(&Subject { kind: kind(), fresh, given: Some(&module), events }).unwrap();
}
