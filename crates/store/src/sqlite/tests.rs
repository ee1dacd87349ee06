//! The engine and the chunks on a disk that fails.

use std::sync::Arc;

use bytes::Bytes;
use whimbrel_wire::{ChunkRef, Epoch, Head, WriteError};

use super::litter::Slice;
use super::log::Limits;
use super::{Place, Sqlite, SqliteChunks, State, schema};
use crate::chunks::{Chunks, Marking, MemoryChunks};
use crate::conformance::story::Story;
use crate::conformance::{Harness, battery, chunks_battery};
use crate::crashes::workload::{STORE, Workload, same};
use crate::engine::{Engine, Journal, Titles, Vault};
use crate::error::StoreError;
use crate::memory::Memory;
use crate::vfs::FaultyDisk;
use crate::vfs::image::Random;

const STEPS: u64 = 60;

fn place(disk: &FaultyDisk) -> Place {
    Place::on(disk.name(), "whimbrel.db")
}

/// Opens with a log so short that a few commits fill it.
fn open(disk: &FaultyDisk) -> Result<Sqlite, StoreError> {
    let mut engine = Sqlite::open(place(disk), STORE, None)?;
    engine.log_limits = Limits { pages_copied: 12, pages_max: 24 };
    Ok(engine)
}

fn set(engine: &Sqlite, name: &str, value: &str) {
    if let State::Open { connection, .. } = &engine.state {
        connection.pragma_update(None, name, value).unwrap();
    }
}

/// How a run ended, and what a store may hold after it.
struct Run {
    /// What was acknowledged.
    held: Memory,
    /// The same with the group whose answer is not known.
    perhaps: Option<Memory>,
}

/// Runs until something is not as it should be, or to the end.
fn run(engine: &mut Sqlite, workload: &mut Workload, held: Memory, steps: u64) -> Run {
    let mut held = held;
    for steps_done in 0..steps {
        // Slices so small that a copy takes many, and crashes fall between and into them.
        let _ = engine.tidy_slice(Slice { rows_max: 1, bytes_max: 1 });
        // Some logs are copied while nothing waits, some by the commit that finds them full.
        if steps_done % 3 == 0 {
            let _ = engine.copy_log(engine.log_limits.pages_copied);
        }
        let group = workload.group(&held);
        let mut after = held.clone();
        let expected = after.commit(&group);
        let answers = engine.commit(&group);
        if answers == expected {
            held = after;
            continue;
        }
        let unknown = answers.iter().any(|answer| matches!(answer, Err(WriteError::Unknown(_))));
        let failed = answers.iter().all(|answer| matches!(answer, Err(WriteError::Failed(_))));
        assert!(unknown || failed, "{answers:?} instead of {expected:?}");
        return Run { held, perhaps: unknown.then_some(after) };
    }
    Run { held, perhaps: None }
}

/// One life on one disk: works, stops where `fault` says, loses power, opens again. Whether the
/// disk then holds what it must. Commits that are not `synced` show that this can be false.
fn survives(seed: u64, synced: bool, fault: impl FnOnce(&FaultyDisk)) -> bool {
    let disk = FaultyDisk::new().unwrap();
    let mut workload = Workload::new(seed);
    let mut engine = open(&disk).unwrap();
    if !synced {
        set(&engine, "synchronous", "OFF");
    }
    let first = run(&mut engine, &mut workload, Memory::new(STORE, None), STEPS / 2);
    fault(&disk);
    let second = run(&mut engine, &mut workload, first.held, STEPS / 2);
    disk.crash(seed);
    drop(engine);
    let Ok(mut engine) = open(&disk) else { return false };
    let kept = same(&mut engine, &second.held);
    kept || second.perhaps.is_some_and(|perhaps| same(&mut engine, &perhaps))
}

#[test]
fn a_missing_sync_is_found() {
    let lost = (0..30).filter(|seed| !survives(*seed, false, |_| {})).count();
    assert!(10 < lost, "only {lost} of 30 crashes without syncs lost anything");
}

#[test]
fn a_sync_that_fails_loses_nothing_acknowledged() {
    for seed in 0..100 {
        let count = 1 + seed % 4;
        assert!(survives(seed, true, |disk| disk.fail_syncs(count)), "seed {seed}");
    }
}

/// A group is committed while `fault` holds. What is held then for certain: all of it, if it was
/// answered with success or can be seen by whoever opens the file after `ends`.
fn last_group(
    seed: u64,
    fault: fn(&FaultyDisk),
    ends: fn(&FaultyDisk),
) -> (FaultyDisk, Memory, bool) {
    let disk = FaultyDisk::new().unwrap();
    let mut workload = Workload::new(seed);
    let mut engine = open(&disk).unwrap();
    let before = run(&mut engine, &mut workload, Memory::new(STORE, None), STEPS / 2).held;
    let group = workload.group(&before);
    let mut after = before.clone();
    let expected = after.commit(&group);
    fault(&disk);
    let is_done = engine.commit(&group) == expected;
    ends(&disk);
    drop(engine);
    (disk, if is_done { after } else { before }, is_done)
}

/// Of a commit whose sync failed the disk forgets what it owes, and it can be read all the same. If
/// it was answered with success, the log in which it lay must not come back without it.
#[test]
fn a_commit_whose_sync_failed_survives_if_the_power_goes_right_after_its_answer() {
    let mut done = 0;
    for seed in 0..100 {
        let (disk, held, is_done) = last_group(seed, |disk| disk.fail_syncs(1), |_| {});
        done += u32::from(is_done);
        disk.crash(seed);
        assert!(same(&mut open(&disk).unwrap(), &held) || !is_done, "seed {seed}");
    }
    assert!(50 < done, "only {done} of 100 were answered with success");
}

/// A process that is killed when a sync has failed leaves a commit that can be seen and is not durable.
/// Whoever opens the file makes it so before anybody counts on it.
#[test]
fn what_is_seen_at_an_opening_survives_if_the_power_goes_right_after() {
    for seed in 0..100 {
        let fails_and_stops = |disk: &FaultyDisk| {
            disk.fail_syncs(1);
            disk.stop_at_sync(1);
        };
        let (disk, before, _) = last_group(seed, fails_and_stops, FaultyDisk::kill);
        let mut engine = open(&disk).unwrap();
        let is_seen = !same(&mut engine, &before);
        drop(engine);
        disk.crash(seed);
        assert_eq!(!same(&mut open(&disk).unwrap(), &before), is_seen, "seed {seed}");
    }
}

#[test]
fn a_full_disk_is_a_definite_failure_and_can_be_emptied() {
    let mut definite = 0;
    for seed in 0..40 {
        let disk = FaultyDisk::new().unwrap();
        let mut workload = Workload::new(seed);
        let mut engine = open(&disk).unwrap();
        let first = run(&mut engine, &mut workload, Memory::new(STORE, None), STEPS / 2);
        disk.limit(Some(disk.bytes() + Random(seed).below(60_000)));
        let second = run(&mut engine, &mut workload, first.held, STEPS * 4);
        definite += usize::from(second.perhaps.is_none());
        disk.limit(None);
        let mut held = second.held;
        if let Some(perhaps) = second.perhaps
            && same(&mut engine, &perhaps)
        {
            held = perhaps;
        }
        assert!(same(&mut engine, &held), "seed {seed}");
        let third = run(&mut engine, &mut workload, held, STEPS / 2);
        assert!(third.perhaps.is_none());
        disk.crash(seed);
        drop(engine);
        let held = third.held;
        assert!(same(&mut open(&disk).unwrap(), &held), "seed {seed}");
    }
    assert!(30 < definite, "only {definite} of 40 full disks gave a definite answer");
}

#[test]
fn what_a_killed_process_left_visible_is_durable_once_it_is_read() {
    for seed in 0..60 {
        let disk = FaultyDisk::new().unwrap();
        let mut workload = Workload::new(seed);
        let mut engine = open(&disk).unwrap();
        let first = run(&mut engine, &mut workload, Memory::new(STORE, None), STEPS / 4);
        disk.stop_at_sync(seed % 20);
        let mut second = run(&mut engine, &mut workload, first.held, STEPS / 2);
        disk.kill();
        drop(engine);
        let mut engine = open(&disk).unwrap();
        let found = match second.perhaps {
            Some(perhaps) if same(&mut engine, &perhaps) => perhaps,
            Some(_) | None => second.held.clone(),
        };
        assert!(same(&mut engine, &found), "seed {seed}");
        second.held = found;
        disk.crash(seed);
        drop(engine);
        assert!(same(&mut open(&disk).unwrap(), &second.held), "seed {seed}");
    }
}

#[test]
fn two_runs_of_a_seed_ask_the_same_of_the_disk() {
    let trace = || {
        let disk = FaultyDisk::new().unwrap();
        let mut engine = open(&disk).unwrap();
        run(&mut engine, &mut Workload::new(9), Memory::new(STORE, None), STEPS);
        (disk.syncs(), disk.writes(), disk.bytes())
    };
    assert_eq!(trace(), trace());
}

#[test]
fn one_group_is_one_sync() {
    let disk = FaultyDisk::new().unwrap();
    let mut engine = Sqlite::open(place(&disk), STORE, None).unwrap();
    let mut workload = Workload::new(1);
    let first = run(&mut engine, &mut workload, Memory::new(STORE, None), 10);
    let group: Vec<_> = (0..3).flat_map(|_| workload.group(&first.held)).collect();
    let before = disk.syncs();
    let answers = engine.commit(&group);
    assert!(answers.iter().any(Result::is_ok), "{answers:?}");
    assert_eq!(disk.syncs() - before, 1);
}

#[test]
fn a_damaged_file_never_panics() {
    let disk = FaultyDisk::new().unwrap();
    let mut engine = Sqlite::open(place(&disk), STORE, None).unwrap();
    let held = run(&mut engine, &mut Workload::new(2), Memory::new(STORE, None), 40).held;
    drop(engine);
    // All of it lies in the database and nothing in the log.
    let connection = schema::look(&place(&disk)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let length = disk.bytes();
    let mut random = Random(5);
    let mut noticed = 0;
    for _ in 0..300 {
        let offset = random.below(length) as usize;
        assert!(disk.flip("whimbrel.db", offset));
        let read = Sqlite::open(place(&disk), STORE, None).and_then(|mut engine| {
            for entity in held.clone().entities()? {
                let record = engine.record(&entity)?;
                for copy in record.waiting {
                    engine.turns(
                        &entity,
                        copy.attempt,
                        copy.manifest.head.position,
                        999,
                        1 << 20,
                    )?;
                }
            }
            Ok(())
        });
        noticed += usize::from(read.is_err());
        assert!(disk.flip("whimbrel.db", offset));
    }
    assert!(0 < noticed, "no damage was noticed");
    assert!(same(&mut Sqlite::open(place(&disk), STORE, None).unwrap(), &held));
}

#[test]
fn one_damaged_daemon_does_not_stop_its_group() {
    let disk = FaultyDisk::new().unwrap();
    let engine = Sqlite::open(place(&disk), STORE, None).unwrap();
    let mut harness = OnFaulty { disk, engine: Some(engine) };
    let mut story = Story::new(&mut harness);
    let (birth, head) = story.started(2);
    let deed = story.deed(&birth, false, 5, head);
    let (other, _) = story.append(deed.deed.epoch, head, 1);
    let entity = story.entity();
    let hand_over = whimbrel_wire::Write::HandOver { deed };
    let birth = story.of_another(9).birth();
    let engine = harness.engine.as_mut().unwrap();
    // A deed lies where none can be by the ownership row.
    let sql = "INSERT INTO deed (entity, epoch, deed) VALUES (?1, 2, x'00')";
    engine.change(sql, [entity.as_bytes()]).unwrap();
    let answers = engine.commit(&[hand_over, birth, other]);
    assert!(matches!(answers[0], Err(WriteError::Failed(_))), "{answers:?}");
    assert_eq!(answers[1], Ok(()));
    assert!(matches!(answers[2], Err(WriteError::Refused(_))), "{answers:?}");
}

struct OnFaulty {
    disk: FaultyDisk,
    engine: Option<Sqlite>,
}

impl Harness for OnFaulty {
    fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.disk.crash(self.disk.writes());
        self.engine = None;
        self.engine = Some(open(&self.disk).unwrap());
    }

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

#[test]
fn the_engine_passes_on_a_disk_that_loses_power_each_time() {
    battery(&mut || {
        let disk = FaultyDisk::new().unwrap();
        let engine = Some(open(&disk).unwrap());
        Box::new(OnFaulty { disk, engine })
    });
}

#[test]
fn a_copy_that_is_gone_leaves_no_turns_behind() {
    let disk = FaultyDisk::new().unwrap();
    let engine = Some(open(&disk).unwrap());
    let mut harness = OnFaulty { disk, engine };
    let mut story = Story::new(&mut harness);
    let (_, deed, _) = story.gone(5);
    let entity = story.entity();
    story.done(&whimbrel_wire::Write::DropState { entity, deed: deed.digest() });
    let engine = harness.engine.as_mut().unwrap();
    assert_eq!(engine.tidy(), Ok(false));
    assert_eq!(rows(engine, "copy") + rows(engine, "turn") + rows(engine, "litter"), 0);
}

fn rows(engine: &mut Sqlite, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    engine.connection().unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_is_forgotten_leaves_in_slices_and_a_crash_in_one_leaves_fewer_rows_and_nothing_else() {
    for seed in 0..40 {
        let disk = FaultyDisk::new().unwrap();
        let mut engine = open(&disk).unwrap();
        let mut workload = Workload::new(seed);
        let held = run(&mut engine, &mut workload, Memory::new(STORE, None), STEPS).held;
        let slice = Slice { rows_max: 2, bytes_max: usize::MAX };
        while engine.tidy_slice(slice).unwrap() {}
        // A second life that nobody tidies.
        let mut held = held;
        for _ in 0..STEPS {
            let group = workload.group(&held);
            assert_eq!(engine.commit(&group), held.commit(&group));
        }
        let mut before = rows(&mut engine, "turn");
        disk.stop_at_write(Random(seed).below(60));
        while engine.tidy_slice(slice).is_ok_and(|more| more) {}
        disk.crash(seed);
        drop(engine);
        let mut engine = open(&disk).unwrap();
        assert!(same(&mut engine, &held), "seed {seed}");
        assert!(rows(&mut engine, "turn") <= before, "seed {seed}");
        before = rows(&mut engine, "turn");
        while rows(&mut engine, "litter") != 0 {
            let more = engine.tidy_slice(slice).unwrap();
            assert_eq!(more, rows(&mut engine, "litter") != 0);
            let now = rows(&mut engine, "turn");
            assert!(now <= before && before <= now + 2, "seed {seed}: more than a slice");
            before = now;
            assert!(same(&mut engine, &held), "seed {seed}");
        }
        let sql = "SELECT count(*) FROM turn LEFT JOIN copy ON copy.id = turn.copy
                   WHERE copy.id IS NULL OR turn.last <= copy.forgotten";
        let connection = engine.connection().unwrap();
        let left: i64 = connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "seed {seed}: rows that nobody wants and nobody deletes");
    }
}

/// An engine that is never opened again.
struct Plain(Sqlite);

impl Harness for Plain {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.0
    }

    fn reopen(&mut self) {}

    fn lose_answer(&mut self, _: bool) -> bool {
        false
    }
}

impl Plain {
    fn log_holds(&self, pages: i32) -> bool {
        matches!(&self.0.state, State::Open { log, .. } if log.holds(pages))
    }

    fn append(&mut self, head: &mut Head) -> Vec<Result<(), WriteError>> {
        let (append, after) = Story::new(self).append(Epoch::FIRST, *head, 1);
        let answers = self.0.commit(&[append]);
        if answers == [Ok(())] {
            *head = after;
        }
        answers
    }
}

#[test]
fn log_bounded_though_nothing_is_tidied_and_copied_when_something_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whimbrel.db");
    let mut engine = Sqlite::open(Place::real(&path), STORE, None).unwrap();
    engine.log_limits = Limits { pages_copied: 12, pages_max: 24 };
    let mut harness = Plain(engine);
    let (_, mut head) = Story::new(&mut harness).started(1);
    let length = || std::fs::metadata(folder.path().join("whimbrel.db-wal")).unwrap().len();
    let taken = length();
    assert!(1024 * 1024 < taken, "its place is taken beforehand");
    let mut copied = 0;
    for _ in 0..200 {
        let long = harness.log_holds(24);
        assert_eq!(harness.append(&mut head), [Ok(())]);
        copied += usize::from(long && !harness.log_holds(12));
        assert!(!harness.log_holds(24 + 12), "a commit found no room");
    }
    assert!(10 < copied, "full logs were copied by {copied} commits only");
    assert_eq!(length(), taken, "the file never grew");
    while !harness.log_holds(12) {
        assert_eq!(harness.append(&mut head), [Ok(())]);
    }
    harness.0.tidy().unwrap();
    assert!(!harness.log_holds(1));
    let entity = Story::new(&mut harness).entity();
    let record = harness.0.record(&entity);
    drop(harness);
    let mut engine = Sqlite::open(Place::real(&path), STORE, None).unwrap();
    assert_eq!(engine.record(&entity), record);
}

#[test]
fn a_log_that_cannot_be_copied_takes_no_more_and_goes_on_when_it_can() {
    let disk = FaultyDisk::new().unwrap();
    let mut harness = Plain(open(&disk).unwrap());
    let (_, mut head) = Story::new(&mut harness).started(1);
    while !harness.log_holds(24) {
        assert_eq!(harness.append(&mut head), [Ok(())]);
    }
    disk.fail_syncs(u64::MAX);
    let answers = harness.append(&mut head);
    assert!(matches!(answers[..], [Err(WriteError::Failed(_))]), "{answers:?}");
    let entity = Story::new(&mut harness).entity();
    assert!(harness.0.record(&entity).is_ok(), "it can still be read");
    disk.fail_syncs(0);
    assert_eq!(harness.append(&mut head), [Ok(())]);
    let record = harness.0.record(&entity);
    disk.crash(1);
    drop(harness);
    assert_eq!(open(&disk).unwrap().record(&entity), record);
}

#[test]
fn a_snapshot_whose_chunks_are_not_there_is_refused() {
    let chunks = Arc::new(MemoryChunks::new());
    let disk = FaultyDisk::new().unwrap();
    let engine = Some(Sqlite::open(place(&disk), STORE, Some(chunks.clone())).unwrap());
    let mut harness = OnFaulty { disk, engine };
    let mut story = Story::new(&mut harness);
    let (_, head) = story.started(2);
    let (entity, epoch) = (story.entity(), Epoch::FIRST);
    let (named, bytes) = chunk(1);
    let mut manifest = story.manifest(epoch, head);
    manifest.luggage.push(named);
    let write = whimbrel_wire::Write::Publish { entity, epoch, manifest };
    story.refused(&write, whimbrel_wire::WriteRefusal::ChunkMissing);
    chunks.put(&[(named, bytes)]).unwrap();
    story.done(&write);
}

#[test]
fn chunks_are_read_while_others_are_put_and_collected() {
    let folder = tempfile::tempdir().unwrap();
    let chunks = SqliteChunks::open(Place::real(folder.path().join("chunks.db"))).unwrap();
    let kept: Vec<_> = (0..8).map(chunk).collect();
    chunks.put(&kept).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for batch in 1..40 {
                let batch: Vec<_> = (0..8).map(|index| chunk(batch * 8 + index)).collect();
                chunks.put(&batch).unwrap();
                let mut marking = Marking::begin(&chunks);
                kept.iter().for_each(|(chunk, _)| marking.pin(&chunk.digest));
                let mut sweep = marking.sweep();
                while sweep.step(&chunks, 6).unwrap().last.is_some() {}
            }
        });
        for _ in 0..200 {
            for (chunk, bytes) in &kept {
                assert_eq!(chunks.get(&chunk.digest).unwrap().as_ref(), Some(bytes));
            }
        }
    });
    let mut sweep = Marking::begin(&chunks).sweep();
    assert_eq!(sweep.step(&chunks, 1000).unwrap().removed, kept.len());
}

#[test]
fn a_wiped_key_is_nowhere_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whimbrel.db");
    let mut engine = Sqlite::open(Place::real(&path), STORE, None).unwrap();
    let entity = whimbrel_wire::EntityId::from_bytes([1; 32]);
    let sealed = b"thirty-two bytes nobody may read";
    engine.put_key(&entity, sealed).unwrap();
    engine.put_key(&whimbrel_wire::EntityId::from_bytes([2; 32]), b"another").unwrap();
    let found = || {
        let files = ["whimbrel.db", "whimbrel.db-wal"].map(|name| folder.path().join(name));
        let bytes = files.iter().filter_map(|file| std::fs::read(file).ok());
        bytes.flatten().collect::<Vec<_>>().windows(32).any(|window| window == sealed)
    };
    assert!(found());
    engine.drop_key(&entity).unwrap();
    assert!(!found());
}

fn chunk(seed: u64) -> (ChunkRef, Bytes) {
    let mut random = Random(seed);
    let length = 1 + random.below(60_000) as usize;
    let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
    (ChunkRef::of(&bytes), bytes.into())
}

#[test]
fn chunks_survive_a_crash_at_any_write_and_a_sweep_takes_no_living_one() {
    for seed in 0..60 {
        let disk = FaultyDisk::new().unwrap();
        let place = Place::on(disk.name(), "chunks.db");
        let chunks = SqliteChunks::open(place.clone()).unwrap();
        let all: Vec<_> = (0..24).map(|index| chunk(seed * 100 + index)).collect();
        disk.stop_at_write(Random(seed).below(600));
        let saved = all.chunks(4).take_while(|batch| chunks.put(batch).is_ok()).count() * 4;
        let mut marking = Marking::begin(&chunks);
        all[..saved].iter().step_by(2).for_each(|(chunk, _)| marking.pin(&chunk.digest));
        let mut sweep = marking.sweep();
        while sweep.step(&chunks, 5).is_ok_and(|swept| swept.last.is_some()) {}
        disk.crash(seed);
        drop((sweep, chunks));
        let chunks = SqliteChunks::open(place).unwrap();
        for (index, (chunk, bytes)) in all.iter().enumerate() {
            let found = chunks.get(&chunk.digest).unwrap();
            let living = index < saved && index % 2 == 0;
            assert!(!living || found.is_some(), "seed {seed}, chunk {index}");
            assert!(found.is_none_or(|found| found == *bytes));
        }
    }
}

#[test]
fn chunks_pass_on_a_faulty_disk() {
    chunks_battery(&mut || {
        let disk = FaultyDisk::new().unwrap();
        let place = Place::on(disk.name(), "chunks.db");
        let chunks = SqliteChunks::open(place).unwrap();
        let reopen = move || {
            disk.kill();
        };
        (Box::new(Reviving(chunks)), Box::new(reopen))
    });
}

/// Chunks that try once more after a failure: the first call after a kill finds a dead file.
struct Reviving(SqliteChunks);

impl Chunks for Reviving {
    fn put(&self, chunks: &[(ChunkRef, Bytes)]) -> Result<(), StoreError> {
        self.0.put(chunks)
    }

    fn get(&self, digest: &whimbrel_wire::Digest) -> Result<Option<Bytes>, StoreError> {
        self.0.get(digest).or_else(|_| self.0.get(digest))
    }

    fn missing(&self, chunks: &[ChunkRef]) -> Result<Vec<usize>, StoreError> {
        self.0.missing(chunks).or_else(|_| self.0.missing(chunks))
    }

    fn hold(&self) -> crate::chunks::Hold {
        self.0.hold()
    }

    fn sweep(
        &self,
        keep: &dyn Fn(&whimbrel_wire::Digest) -> bool,
        floor: u64,
        after: Option<whimbrel_wire::Digest>,
        count_max: usize,
    ) -> Result<crate::chunks::Swept, StoreError> {
        let again = |_| self.0.sweep(keep, floor, after, count_max);
        self.0.sweep(keep, floor, after, count_max).or_else(again)
    }
}
