//! A trace and its witness: the same machines, told the same, say the same.

use std::sync::Arc;

use whimbrel_protocol::{
    Difference, Input, Output, Seat, Settings, Station, TRACE_VERSION, TraceHeader, TraceRecord,
    Witness,
};
use whimbrel_wire::{EntityId, NodeKey, SeatRecord, StoreId, Time, encode};

fn entity() -> EntityId {
    EntityId::from_bytes([9; 32])
}

fn header(version: u32) -> TraceHeader {
    TraceHeader {
        version,
        program: "test".to_owned(),
        node: NodeKey::from_seed(&[1; 32]).public(),
        store: StoreId::new(5),
        settings: Settings::default(),
    }
}

/// What a node writes down: a seat is opened, reads nothing, and is woken.
fn records() -> Vec<TraceRecord> {
    let key = NodeKey::from_seed(&[1; 32]);
    let station = Station::new(key, StoreId::new(5), Settings::default());
    let snapshot_every = station.settings.snapshot_every;
    let mut seat = Seat::new(Arc::new(station), entity());
    let mut records = vec![TraceRecord::Seat { entity: entity(), snapshot_every }];
    let mut now = Time::ZERO;
    let mut out = Vec::new();
    seat.open(now, &mut out);
    let outputs = encode(&out).into();
    records.push(TraceRecord::Opened { entity: entity(), now, outputs });
    for input in [Input::Read(Ok(SeatRecord::default())), Input::Woke, Input::Woke] {
        now = Time::from_nanos(now.as_nanos() + 1_000_000_000);
        let told = encode(&input).into();
        let mut out = Vec::new();
        seat.handle(now, input, &mut out);
        let outputs = encode(&out).into();
        records.push(TraceRecord::Step { entity: entity(), now, input: told, outputs });
    }
    records
}

fn witness() -> Witness {
    Witness::new(header(TRACE_VERSION), []).unwrap()
}

#[test]
fn a_trace_follows_from_the_machines() {
    let mut witness = witness();
    records().into_iter().for_each(|record| witness.see(record).unwrap());
    assert_eq!((witness.steps(), witness.seats()), (4, 1));
}

#[test]
fn the_first_difference_is_named_with_what_was_told_and_said() {
    let mut records = records();
    let TraceRecord::Step { outputs, .. } = &mut records[3] else { unreachable!() };
    *outputs = encode(&vec![Output::WipeKey]).into();
    let mut witness = witness();
    let difference = records.into_iter().find_map(|record| witness.see(record).err()).unwrap();
    let Difference::Outputs { step, input, trace, machines, .. } = difference else {
        panic!("{difference:?}")
    };
    assert_eq!((step, input.as_str(), trace.as_str()), (3, "Woke", "WipeKey"));
    assert_eq!(machines, "nothing more");
}

#[test]
fn what_is_no_trace_of_these_machines_is_refused() {
    let other = Witness::new(header(TRACE_VERSION + 1), []).err();
    assert_eq!(other, Some(Difference::Version { version: TRACE_VERSION + 1 }));
    let refused = |record| witness().see(record).unwrap_err();
    let step = |input: &[u8]| TraceRecord::Step {
        entity: entity(),
        now: Time::ZERO,
        input: input.to_vec().into(),
        outputs: vec![0].into(),
    };
    let no_seat = refused(step(&encode(&Input::Woke)));
    assert_eq!(no_seat, Difference::NoSeat { step: 1, entity: entity() });
    let unreadable = refused(step(&[0xff; 3]));
    assert_eq!(unreadable, Difference::Unreadable { step: 1, entity: entity() });
}
