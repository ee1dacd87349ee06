//! What is held against a state before it is used, and that equal states have equal bytes.

use std::sync::Arc;

use whimbrel_isolate::fast::{FastCode, Settings};
use whimbrel_isolate::reference::ReferenceCode;
use whimbrel_isolate::{
    Answer, CheckError, Code, DecodeError, DecodeLimits, Environment, Host, Import, Limits, Module,
    NanPolicy, NoHost, Outcome, Supply, Trap, Value, VmIsolate, VmState,
};

const SUM: &str = r#"(module
    (memory 1)
    (global $steps (mut i32) (i32.const 0))
    (func $add (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (call $add (local.get $sum) (local.get $n)))
            (i32.store (i32.const 4096) (local.get $sum))
            (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

fn module(text: &str) -> Arc<Module> {
    let buffer = wast::parser::ParseBuffer::new(text).expect("the text can be read");
    let mut parsed: wast::Wat<'_> = wast::parser::parse(&buffer).expect("the text is a module");
    let bytes = parsed.encode().expect("the module can be written");
    Arc::new(Module::parse(&bytes).expect("the module is valid"))
}

fn fresh(module: &Module) -> VmState {
    VmState::initial(module, &NoHost, NanPolicy::Open, Limits::SMALL).expect("it can begin")
}

fn reference(module: &Arc<Module>) -> Code {
    Code::Reference(ReferenceCode::new(module).expect("it is supported"))
}

fn counted(module: &Arc<Module>) -> Code {
    let settings = Settings { every_entry: false, ..Settings::COUNTED };
    Code::Fast(FastCode::new(module, settings).expect("it is supported"))
}

fn stopped(code: &Code, steps: u64) -> VmState {
    let mut isolate =
        VmIsolate::spawn(code, fresh(code.module()), Box::new(NoHost)).expect("it begins");
    let function = code.module().exported_function("sum").expect("it is exported");
    assert_eq!(isolate.call(function, &[Value::I32(10)], Some(steps)), Outcome::Stopped);
    isolate.capture().expect("it is stopped")
}

#[test]
fn both_tiers_write_the_same_bytes_at_the_same_moment() {
    let module = module(SUM);
    let fast = stopped(&counted(&module), 3).encode();
    let code = reference(&module);
    let same = (1..100).filter(|steps| stopped(&code, *steps).encode() == fast).count();
    assert_eq!(same, 1, "of all moments exactly one is that of the third poll");
}

#[test]
fn a_state_of_one_tier_goes_on_in_the_other() {
    let module = module(SUM);
    for (from, to) in
        [(counted(&module), reference(&module)), (reference(&module), counted(&module))]
    {
        let state = stopped(&from, 4);
        let mut isolate = VmIsolate::spawn(&to, state, Box::new(NoHost)).expect("it goes on");
        assert_eq!(isolate.resume(None), Outcome::Returned(vec![Value::I32(55)]));
    }
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let bytes = stopped(&reference(&module(SUM)), 30).encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(VmState::decode(&changed, &DecodeLimits::WIDE).is_err(), "byte {at}");
    }
}

#[test]
fn a_state_that_is_cut_short_is_refused() {
    let bytes = stopped(&reference(&module(SUM)), 30).encode();
    for length in 0..bytes.len() {
        assert!(VmState::decode(&bytes[..length], &DecodeLimits::WIDE).is_err(), "{length}");
    }
    let longer = [&*bytes, &[0]].concat();
    assert!(VmState::decode(&longer, &DecodeLimits::WIDE).is_err());
}

#[test]
fn a_state_beyond_the_limits_is_refused_before_it_is_read() {
    let bytes = stopped(&reference(&module(SUM)), 30).encode();
    let limits = DecodeLimits { frames_max: 0, ..DecodeLimits::WIDE };
    let refused = VmState::decode(&bytes, &limits);
    assert!(matches!(refused, Err(DecodeError::TooMany { what: "frames", .. })), "{refused:?}");
    // One page, of which one block was written: both are bounded.
    let limits = DecodeLimits { pages_max: 0, ..DecodeLimits::WIDE };
    let refused = VmState::decode(&bytes, &limits);
    let what = "pages of memory";
    let expected = Err(DecodeError::TooMany { what, count: 1, limit: 0 });
    assert_eq!(refused.map(|_| ()), expected);
    assert!(VmState::decode(&bytes, &DecodeLimits { pages_max: 1, ..limits }).is_ok());
}

/// A program that calls the host in three ways, two of which take the place of their frame or are
/// found in a table.
const CALLS: &str = r#"(module
    (import "host" "ask" (func $ask (param i32) (result i32)))
    (table funcref (elem $ask))
    (func (export "call") (param i32) (result i32)
        (i32.add (call $ask (local.get 0)) (i32.const 100)))
    (func $behind (param i32) (result i32)
        (return_call $ask (local.get 0)))
    (func (export "tail") (param i32) (result i32)
        (i32.add (call $behind (local.get 0)) (i32.const 100)))
    (export "ask" (func $ask)))"#;

/// Suspends every call once, and then gives back what it is asked, and seven.
struct Asked;

impl Host for Asked {
    fn call(
        &mut self,
        _: u32,
        arguments: &[Value],
        _: Option<&mut [u8]>,
        note: Option<&[u8]>,
    ) -> Answer {
        let Some(Value::I32(asked)) = arguments.first() else { return Answer::Return(Vec::new()) };
        match note {
            Some([1]) => Answer::Return(vec![Value::I32(asked + 7)]),
            _ => Answer::Suspend(vec![1]),
        }
    }
}

struct Ask(Arc<Module>);

impl Environment for Ask {
    fn supply(&self, import: &Import) -> Option<Supply> {
        Some(Supply::Function(self.0.function_type(import.index)?.clone()))
    }
}

fn asking(code: &Code) -> VmIsolate {
    let module = Arc::clone(code.module());
    let state =
        VmState::initial(&module, &Ask(Arc::clone(&module)), NanPolicy::Open, Limits::SMALL)
            .expect("it can begin");
    VmIsolate::spawn(code, state, Box::new(Asked)).expect("it begins")
}

#[test]
fn a_call_of_the_host_that_takes_the_place_of_its_frame_is_made_again_elsewhere() {
    let module = module(CALLS);
    let codes = [counted(&module), reference(&module)];
    for name in ["call", "tail"] {
        let function = module.exported_function(name).expect("it is exported");
        for here in &codes {
            for there in &codes {
                let mut isolate = asking(here);
                let outcome = isolate.call(function, &[Value::I32(5)], None);
                assert_eq!(outcome, Outcome::Stopped, "{name}");
                let state = isolate.capture().expect("it is stopped");
                assert!(state.pending.is_some());
                let mut moved =
                    VmIsolate::spawn(there, state, Box::new(Asked)).expect("it goes on");
                assert_eq!(moved.resume(None), Outcome::Returned(vec![Value::I32(112)]), "{name}");
            }
        }
    }
}

#[test]
fn a_call_of_the_host_without_a_frame_cannot_be_suspended() {
    let module = module(CALLS);
    let function = module.exported_function("ask").expect("it is exported");
    for code in [counted(&module), reference(&module)] {
        let mut isolate = asking(&code);
        let outcome = isolate.call(function, &[Value::I32(5)], None);
        assert!(matches!(outcome, Outcome::Trapped(Trap::Host(_))), "{outcome:?}");
        assert_eq!(isolate.capture().expect("it waits").pending, None);
    }
}

#[test]
fn a_claim_of_a_call_of_the_host_that_is_not_under_way_is_refused() {
    let module = module(CALLS);
    let function = module.exported_function("call").expect("it is exported");
    let code = reference(&module);
    let mut isolate = asking(&code);
    assert_eq!(isolate.call(function, &[Value::I32(5)], None), Outcome::Stopped);
    let suspended = isolate.capture().expect("it is stopped");
    assert_eq!(isolate.resume(Some(1)), Outcome::Stopped, "behind the call");
    let behind = isolate.capture().expect("it is stopped");
    assert_eq!(behind.pending, None);
    let claimed = VmState { pending: suspended.pending.clone(), ..behind };
    let refused = claimed.check(&module).map(|_| ());
    assert_eq!(refused, Err(CheckError::NoHostCall));
    assert!(suspended.check(&module).is_ok());
}

#[test]
fn a_memory_with_another_largest_size_is_refused() {
    assert!(!taken(|state| state.memories[0].pages_max = 3));
}

/// Whether a state that was changed is still taken for one of its module.
fn taken(change: impl Fn(&mut VmState)) -> bool {
    let module = module(SUM);
    let mut state = stopped(&reference(&module), 30);
    change(&mut state);
    VmState::decode(&state.encode(), &DecodeLimits::WIDE)
        .is_ok_and(|carried| carried.check(&module).is_ok())
}

#[test]
fn a_state_that_its_module_does_not_allow_is_refused() {
    assert!(taken(|_| ()));
    assert!(!taken(|state| state.frames[0].function = 7));
    assert!(!taken(|state| state.frames[0].function = 0));
    assert!(!taken(|state| state.frames[0].position = 10_000));
    assert!(!taken(|state| state.frames[0].locals.clear()));
    assert!(!taken(|state| state.frames[0].locals[0].1 = Value::I64(1)));
    assert!(!taken(|state| state.frames[0].operands.push(Value::I32(1))));
    assert!(!taken(|state| state.frames.push(state.frames[0].clone())));
    assert!(!taken(|state| state.globals[0] = Value::F32(0)));
    assert!(!taken(|state| state.globals.clear()));
    assert!(!taken(|state| state.memories[0].pages = 0));
    assert!(!taken(|state| state.memories[0].pages = 1 << 40));
    assert!(!taken(|state| state.module.0[0] ^= 1));
    assert!(!taken(|state| state.dropped_data.push(true)));
    assert!(!taken(|state| state.limits.frames_max = 0));
}

#[test]
fn every_position_but_the_canonical_ones_that_can_be_reached_is_refused() {
    let positions = (0..40).filter(|position| {
        taken(|state| state.frames.iter_mut().for_each(|frame| frame.position = *position))
    });
    // Other places in the loop need the same locals and have an empty stack as well.
    assert!(positions.count() < 8);
}

#[test]
fn fuel_ends_a_program_and_travels_with_it() {
    let module = module(SUM);
    let code = reference(&module);
    let mut state = stopped(&code, 5);
    state.fuel = Some(20);
    let mut isolate = VmIsolate::spawn(&code, state, Box::new(NoHost)).expect("it goes on");
    assert_eq!(isolate.resume(Some(7)), Outcome::Stopped);
    let state = isolate.capture().expect("it is stopped");
    assert_eq!(state.fuel, Some(13));
    let mut isolate = VmIsolate::spawn(&code, state, Box::new(NoHost)).expect("it goes on");
    assert_eq!(isolate.resume(None), Outcome::Trapped(Trap::OutOfFuel));
}

#[test]
fn endless_recursion_and_endless_growth_are_contained_on_both_tiers() {
    let module = module(
        r#"(module (memory 1)
            (func $deep (export "deep") (call $deep))
            (func (export "grow") (result i32)
                (loop $again (br_if $again (i32.ne (i32.const -1)
                    (memory.grow (i32.const 100)))))
                (memory.size)))"#,
    );
    for code in [reference(&module), counted(&module)] {
        let mut isolate =
            VmIsolate::spawn(&code, fresh(&module), Box::new(NoHost)).expect("it begins");
        assert_eq!(isolate.call(0, &[], None), Outcome::Trapped(Trap::StackOverflow));
        assert_eq!(isolate.call(1, &[], None), Outcome::Returned(vec![Value::I32(1001)]));
    }
}

#[test]
fn a_loop_without_an_end_or_a_store_is_stopped_from_another_thread() {
    let module = module(
        r#"(module (func (export "spin") (param i32) (result i32) (local i32)
            (loop $outer
                (local.set 1 (i32.const 1000))
                (loop $inner
                    (br_if $inner (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br $outer))
            (unreachable)))"#,
    );
    let fast = Code::Fast(FastCode::new(&module, Settings::FAST).expect("it is supported"));
    for code in [reference(&module), fast] {
        let mut isolate =
            VmIsolate::spawn(&code, fresh(&module), Box::new(NoHost)).expect("it begins");
        let handle = isolate.stop_handle();
        let other = std::thread::spawn(move || handle.ask());
        assert_eq!(isolate.call(0, &[Value::I32(1)], None), Outcome::Stopped);
        assert!(other.join().is_ok());
        assert_eq!(isolate.capture().expect("it is stopped").frames.len(), 1);
    }
}
