//! The power goes at a sample of the calls of a disk; `examples/crashes.rs` tries them all.

use whimbrel_store::crashes::{Plan, Tally};
use whimbrel_store::vfs::DiskCall;

#[test]
fn every_answer_is_honest_and_outlives_a_crash_at_any_call() {
    let mut tally = Tally::default();
    let outcome = Plan { seeds: 3, stride: 9 }.run(&mut tally);
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    // A sample that misses a place says nothing about it.
    let places = [
        ("chunks.db", DiskCall::Create),
        ("whimbrel.db", DiskCall::Write),
        ("whimbrel.db", DiskCall::Sync),
        ("whimbrel.db-journal", DiskCall::Write),
        ("whimbrel.db-wal", DiskCall::Write),
        ("whimbrel.db-wal", DiskCall::Sync),
        ("whimbrel.db-wal", DiskCall::Truncate),
        ("chunks.db", DiskCall::Write),
        ("chunks.db", DiskCall::Sync),
        ("chunks.db-wal", DiskCall::Write),
        ("chunks.db-wal", DiskCall::Sync),
        ("chunks.db-wal", DiskCall::Truncate),
    ];
    for (file, call) in places {
        assert!(0 < tally.at(file, call), "no crash at {call:?} of {file}:\n{tally}");
    }
}
