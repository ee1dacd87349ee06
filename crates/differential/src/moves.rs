//! How soon a program stops, and what its state costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use whimbrel_isolate::fast::{FastCode, Settings};
use whimbrel_isolate::{
    Code, DecodeLimits, Limits, Module, NanPolicy, NoHost, Outcome, Value, VmIsolate, VmState,
};

/// Loops within loops without a store: a compiler would like to look once, before them.
const SPIN: &str = r#"(module (func (export "run") (param i32) (result i64) (local i32 i32)
    (loop $outer
        (local.set 1 (i32.const 100000))
        (loop $middle
            (local.set 2 (i32.const 100000))
            (loop $inner
                (br_if $inner (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
            (br_if $middle (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
        (br_if $outer (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (i64.const 0)))"#;

/// A program that fills so many bytes of memory, and one that counts up a word in every 4 KiB of it,
/// again and again, with so many empty steps between two writes.
const WRITER: &str = r#"(module (memory (export "memory") 1 2048)
    (func (export "fill") (param $bytes i32) (result i64) (local $at i32)
        (drop (memory.grow (i32.sub (i32.shr_u (local.get $bytes) (i32.const 16))
            (memory.size))))
        (loop $next
            (i64.store (local.get $at)
                (i64.mul (i64.extend_i32_u (local.get $at)) (i64.const 0x9e3779b97f4a7c15)))
            (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64)))
                (local.get $bytes))))
        (i64.const 0))
    (func (export "run") (param $pause i32) (result i64)
        (local $at i32) (local $spin i32)
        (loop $again
            (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (i32.const 1)))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (local.set $at (i32.rem_u (local.get $at)
                (i32.shl (memory.size) (i32.const 16))))
            (local.set $spin (local.get $pause))
            (loop $wait
                (br_if $wait (local.tee $spin
                    (i32.sub (local.get $spin) (i32.const 1)))))
            (br $again))
        (unreachable)))"#;

fn code(text: &str) -> Result<Code> {
    let buffer = wast::parser::ParseBuffer::new(text)?;
    let bytes = wast::parser::parse::<wast::Wat<'_>>(&buffer)?.encode()?;
    Ok(Code::Fast(FastCode::new(&Arc::new(Module::parse(&bytes)?), Settings::FAST)?))
}

fn spawn(code: &Code) -> Result<VmIsolate> {
    let limits = Limits { memory_bytes_max: 128 << 20, ..Limits::SMALL };
    let state = VmState::initial(code.module(), &NoHost, NanPolicy::Open, limits)?;
    Ok(VmIsolate::spawn(code, state, Box::new(NoHost))?)
}

/// A writer that has so many MiB of memory, filled.
fn filled(code: &Code, mib: u32) -> Result<VmIsolate> {
    let fill = code.module().exported_function("fill").context("fill")?;
    let mut isolate = spawn(code)?;
    let outcome = isolate.call(fill, &[Value::I32(mib << 20)], None);
    ensure!(matches!(outcome, Outcome::Returned(_)), "{outcome:?}");
    Ok(isolate)
}

/// What came of many times of the same.
struct Times(Vec<Duration>);

impl Times {
    fn at(&self, per_mille: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * per_mille / 1000).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
    }

    fn print(&self, what: &str) {
        println!(
            "    {what:<48} least {:>8.3} ms, median {:>8.3} ms, p99 {:>8.3} ms, most {:>8.3} ms, of {}",
            self.at(0),
            self.at(500),
            self.at(990),
            self.at(1000),
            self.0.len()
        );
    }
}

/// From the request, made on another thread, to the state in which nothing runs.
fn stop_times(text: &str, argument: u32, count: usize) -> Result<Times> {
    let code = code(text)?;
    let function = code.module().exported_function("run").context("run")?;
    let mut times = Vec::new();
    while times.len() < count {
        let mut isolate = spawn(&code)?;
        let handle = isolate.stop_handle();
        let pause = Duration::from_micros(300 + 37 * (times.len() as u64 % 50));
        let asking = std::thread::spawn(move || {
            std::thread::sleep(pause);
            let asked = Instant::now();
            handle.ask();
            asked
        });
        let outcome = isolate.call(function, &[Value::I32(argument)], None);
        let ended = Instant::now();
        let Ok(asked) = asking.join() else { bail!("the other thread failed") };
        outcome.stopped()?;
        times.push(ended.saturating_duration_since(asked));
    }
    Ok(Times(times))
}

/// Prints how soon programs stop.
pub(crate) fn stops(count: usize) -> Result<()> {
    println!("from the request to the stop:");
    stop_times(SPIN, 1_000_000, count)?.print("loops within loops without a store");
    stop_times(WRITER, 10, count)?.print("a loop that writes");
    Ok(())
}

/// Prints what the state of a program with so many MiB of memory costs.
pub(crate) fn states(mib: u32, count: usize) -> Result<()> {
    let code = code(WRITER)?;
    let run = code.module().exported_function("run").context("run")?;
    let mut isolate = filled(&code, mib)?;
    isolate.stop_handle().ask();
    isolate.call(run, &[Value::I32(10)], None).stopped()?;
    let names = [
        "capture",
        "encode, with hashes",
        "capture and encode",
        "decode, with hashes",
        "check, make and place",
        "decode, check, make and place",
        "go on to the next look, continuations kept",
    ];
    let mut times: [Vec<Duration>; 7] = Default::default();
    let mut size = 0;
    let started = Instant::now();
    isolate.resume(None).stopped()?;
    let first = started.elapsed();
    for _ in 0..count {
        let mut note = |number: usize, taken: Duration| times[number].push(taken);
        let begun = Instant::now();
        let captured = isolate.capture()?;
        note(0, begun.elapsed());
        let started = Instant::now();
        let encoded = captured.encode();
        note(1, started.elapsed());
        note(2, begun.elapsed());
        size = encoded.len();
        drop(captured);
        let begun = Instant::now();
        let decoded = VmState::decode(&encoded, &DecodeLimits::WIDE)?;
        note(3, begun.elapsed());
        let started = Instant::now();
        let mut next = VmIsolate::spawn(&code, decoded, Box::new(NoHost))?;
        note(4, started.elapsed());
        note(5, begun.elapsed());
        next.stop_handle().ask();
        let started = Instant::now();
        next.resume(None).stopped()?;
        note(6, started.elapsed());
        isolate = next;
    }
    println!("a state of {size} bytes:");
    for (name, times) in names.into_iter().zip(times) {
        Times(times).print(name);
    }
    println!("    going on for the first time, continuations compiled: {:.3} ms", ms(first));
    Ok(())
}

trait Stopped {
    fn stopped(self) -> Result<()>;
}

impl Stopped for Outcome {
    fn stopped(self) -> Result<()> {
        ensure!(self == Self::Stopped, "{self:?}");
        Ok(())
    }
}

fn ms(taken: Duration) -> f64 {
    taken.as_secs_f64() * 1e3
}

/// Prints how long a program with so many MiB of memory stands still when it is moved, with rounds
/// before the stop and without, while it writes a share of its memory each second.
pub(crate) fn rounds(mib: u32, percent: u32, count: usize) -> Result<()> {
    let code = code(WRITER)?;
    let run = code.module().exported_function("run").context("run")?;
    let mut isolate = filled(&code, mib)?;
    let pages_a_second = f64::from(mib) * 256.0 * f64::from(percent) / 100.0;
    let pause = calibrate(&code, run, pages_a_second)?;
    let handle = isolate.stop_handle();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut rounds = isolate.begin_rounds();
    let mut begun = false;
    for _ in 0..count {
        // The program runs on this thread, the rounds are made on another.
        handle.clear();
        let stop = handle.clone();
        let copying = std::thread::spawn(move || {
            for _ in 0..4 {
                let _ = rounds.round();
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = rounds.round();
            let asked = Instant::now();
            stop.ask();
            (rounds, asked)
        });
        let outcome = if begun {
            isolate.resume(None)
        } else {
            isolate.call(run, &[Value::I32(pause)], None)
        };
        outcome.stopped()?;
        begun = true;
        let Ok((back, asked)) = copying.join() else { bail!("the other thread failed") };
        rounds = back;
        let paged = isolate.capture_rounds(&mut rounds)?;
        with.push(asked.elapsed());
        let started = Instant::now();
        let whole = isolate.capture()?;
        without.push(started.elapsed());
        ensure!(paged.roots[0] == whole.memories[0].root(), "the copy is not the memory");
        ensure!(paged.into_state() == whole, "the copy is not the state");
    }
    println!(
        "{mib} MiB, {percent} % of it written each second (a look at the kernel: {:?}):",
        rounds.tracking()
    );
    Times(with).print("from the request to a state, after rounds");
    Times(without).print("stop and copy: the copy alone");
    Ok(())
}

/// How long the writer has to wait between two pages, in steps.
fn calibrate(code: &Code, run: u32, pages_a_second: f64) -> Result<u32> {
    const PAUSE: u32 = 100_000;
    let mut isolate = spawn(code)?;
    let handle = isolate.stop_handle();
    let asking = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        handle.ask();
    });
    let started = Instant::now();
    isolate.call(run, &[Value::I32(PAUSE)], None).stopped()?;
    let seconds = started.elapsed().as_secs_f64();
    drop(asking.join());
    let state = isolate.capture()?;
    // It counts up one word after the other; the first page has been written most.
    let written: u64 = state.memories[0]
        .blocks()
        .map(|(_, block)| u64::from(u32::from_le_bytes([block[0], block[1], block[2], block[3]])))
        .sum();
    let found = written as f64 / seconds;
    Ok((f64::from(PAUSE) * found / pages_a_second) as u32)
}
