//! Cells under several threads at once.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::thread;

use whimbrel_members::DetectorSettings;
use whimbrel_protocol::Settings;
use whimbrel_wire::{NodeKey, StoreId};

use super::*;
use crate::config::Durability;
use crate::core::Parts;
use crate::link::Members;
use crate::stores::Stores;
use crate::workers;

fn core() -> Arc<Core> {
    let key = NodeKey::from_seed(&[1; 32]);
    let store = StoreId::new(1);
    let stores = Stores::open(None, store).unwrap();
    let station = Station::new(key.clone(), store, Settings::default());
    let (members, tags, recorded) = (Members::default(), BTreeSet::new(), BTreeSet::new());
    let (memory_bytes, hosts, trace, hops) = (u64::MAX, true, None, None);
    let trust = crate::trust::Trust::open(&crate::trust::TrustConfig::default()).unwrap();
    let (detector, seed) = (DetectorSettings::default(), 1);
    let parts = Parts {
        station,
        key,
        stores,
        members,
        tags,
        memory_bytes,
        hosts,
        recorded,
        trace,
        hops,
        detector,
        seed,
        trust,
        steals: false,
    };
    Arc::new(Core::new(parts))
}

fn cell(core: &Arc<Core>, seed: u8) -> Arc<Cell> {
    let entity = EntityId::from_bytes([seed; 32]);
    let store = core.stores.of(Durability::Volatile);
    Arc::new(Cell::new(core, Arc::clone(&core.station), entity, store, true))
}

/// Work that says `done` when it is run; the seat refuses it, for nobody owns the daemon here.
fn ask(done: impl FnOnce() + Send + 'static) -> Work {
    let (tell, _) = oneshot::channel();
    let ask = Box::new(move |ticket| {
        done();
        Input::Snapshot { ticket }
    });
    Work::Ask { ask, reply: Reply::Snapshot(tell) }
}

/// Ends the workers once the queue is empty.
fn finish(core: &Arc<Core>, threads: Vec<thread::JoinHandle<()>>) {
    core.workers.close();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn one_step_at_a_time_whoever_runs_the_cell() {
    const EACH: usize = 400;
    let core = core();
    let cell = cell(&core, 1);
    let (inside, most, done) = (
        Arc::<AtomicUsize>::default(),
        Arc::<AtomicUsize>::default(),
        Arc::<AtomicUsize>::default(),
    );
    // Each thread runs the cell by itself, whether it was scheduled or not.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let (inside, most, done) =
                        (Arc::clone(&inside), Arc::clone(&most), Arc::clone(&done));
                    cell.push(ask(move || {
                        most.fetch_max(1 + inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }));
                    cell.run(&core);
                }
            });
        }
    });
    cell.run(&core);
    assert_eq!(done.load(Ordering::SeqCst), 4 * EACH);
    assert_eq!(most.load(Ordering::SeqCst), 1, "steps that ran at the same time");
}

#[test]
fn never_forgotten_is_what_was_pushed_in_one_go() {
    let core = core();
    let cell = cell(&core, 1);
    let done = Arc::<AtomicUsize>::default();
    let count = 3 * GO_MAX + 7;
    let mut scheduled = 0;
    for _ in 0..count {
        let done = Arc::clone(&done);
        let work = ask(move || {
            done.fetch_add(1, Ordering::SeqCst);
        });
        scheduled += usize::from(cell.push(work));
    }
    assert_eq!(scheduled, 1, "a cell is in the queue once");
    cell.run(&core);
    assert_eq!(done.load(Ordering::SeqCst), GO_MAX, "other cells get their turn");
    // The rest is run by the workers that start after the cell queued itself again.
    let threads = workers::start(&core, 2).unwrap();
    finish(&core, threads);
    assert_eq!(done.load(Ordering::SeqCst), count);
}

#[test]
fn never_forgotten_is_what_is_pushed_while_the_cell_runs() {
    const EACH: usize = 3_000;
    let core = core();
    let cells: Vec<Arc<Cell>> = (0..3).map(|seed| cell(&core, seed)).collect();
    let done = Arc::<AtomicUsize>::default();
    let threads = workers::start(&core, 3).unwrap();
    thread::scope(|scope| {
        for cell in &cells {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        let done = Arc::clone(&done);
                        let work = ask(move || {
                            done.fetch_add(1, Ordering::SeqCst);
                        });
                        if cell.push(work) {
                            core.workers.schedule(Arc::clone(cell));
                        }
                    }
                });
            }
        }
    });
    finish(&core, threads);
    assert_eq!(done.load(Ordering::SeqCst), 3 * 2 * EACH);
}
