//! What comes from other nodes below the frames, from people's tools, and from files that people bring:
//! streams, sealed keys, admin words, traces, charts and documents.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use whimbrel_protocol::{Settings, TRACE_VERSION, TraceHeader, TraceRecord, Witness};
use whimbrel_runtime::admin::words::{Ask, Reply, Request, VERSION};
use whimbrel_runtime::link::frames_of;
use whimbrel_runtime::{Binding, unsealer};
use whimbrel_statechart::scxml::{Ours, Surroundings, import};
use whimbrel_statechart::{Chart, Checkpoint, Definition};
use whimbrel_wire::{AttemptId, Digest, Epoch, Identity, NodeKey, StoreId, Time, decode, encode};

use crate::driver::Target;

/// The longest frame of the lane of the target `streams`.
const FRAME_BYTES_MAX: u32 = 512;

/// The first byte says how long the pieces are in which the stream comes. However it is cut, the same frames
/// come out, and a length beyond the limit ends it.
pub(super) const STREAMS: Target = Target {
    name: "streams",
    corpus: include_str!("../../corpus/streams.hex"),
    growth_max: Some(1024),
    every: 1,
    run: |input| {
        let Some((piece, stream)) = input.split_first() else { return };
        let stream = Bytes::copy_from_slice(stream);
        let found = frames_of(&stream, usize::from(*piece), FRAME_BYTES_MAX);
        assert_eq!(found, plainly(&stream));
    },
};

/// What a stream holds, read at once.
fn plainly(stream: &Bytes) -> Result<(Vec<Bytes>, bool), u32> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some(length) = stream.get(at..at + 4) {
        let length = u32::from_le_bytes(length.try_into().unwrap_or_default());
        if length > FRAME_BYTES_MAX {
            return Err(length);
        }
        let (from, end) = (at + 4, at + 4 + length as usize);
        if stream.len() < end {
            return Ok((frames, false));
        }
        frames.push(stream.slice(from..end));
        at = end;
    }
    Ok((frames, at == stream.len()))
}

/// No bytes open as a daemon's key that nobody sealed.
pub(super) const ENVELOPES: Target = Target {
    name: "envelopes",
    corpus: include_str!("../../corpus/envelopes.hex"),
    growth_max: Some(1024),
    every: 40,
    run: |input| {
        let bound = Binding {
            entity: Identity::from_seed(&[3; 32]).entity_id(),
            attempt: AttemptId::new(4),
            epoch: Epoch::FIRST,
            snapshot: Digest::ZERO,
        };
        let source = NodeKey::from_seed(&[2; 32]).public();
        let opened = unsealer(NodeKey::from_seed(&[1; 32]))(input, &bound, &source);
        assert!(opened.is_err(), "a key that nobody sealed");
    },
};

/// A line of the admin socket: the first byte says whether it is a request or a reply.
pub(super) const ADMIN: Target = Target {
    name: "admin",
    corpus: include_str!("../../corpus/admin.hex"),
    growth_max: Some(1024),
    every: 1,
    run: |input| match input.split_first() {
        Some((0, line)) => comes_back::<Request>(line),
        Some((_, line)) => comes_back::<Reply>(line),
        None => {}
    },
};

/// JSON is a value, which is then the same value for ever, or a typed error.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(text) else { return };
    let Ok(written) = serde_json::to_vec(&value) else { return };
    assert_eq!(serde_json::from_slice::<T>(&written).as_ref().ok(), Some(&value));
}

/// Records of a trace, a byte of length before each: whatever they say, the machines see it through.
pub(super) const TRACES: Target = Target {
    name: "traces",
    corpus: include_str!("../../corpus/traces.hex"),
    growth_max: None,
    every: 4,
    run: |input| {
        let Ok(mut witness) = Witness::new(header(), []) else { return };
        let mut rest = input;
        while let Some((length, after)) = rest.split_first() {
            let (record, after) = after.split_at(after.len().min(usize::from(*length)));
            rest = after;
            let Ok(record) = decode::<TraceRecord>(record) else { continue };
            if witness.see(record).is_err() {
                return;
            }
        }
    },
};

/// A chart or a checkpoint as JSON, by the first byte: it is legal, or it is said what is wrong.
pub(super) const CHARTS: Target = Target {
    name: "charts",
    corpus: include_str!("../../corpus/charts.hex"),
    growth_max: None,
    every: 4,
    run: |input| {
        let Some((which, text)) = input.split_first() else { return };
        if *which == 0 {
            comes_back::<Definition>(text);
            let Ok(definition) = serde_json::from_slice::<Definition>(text) else { return };
            if let Ok(chart) = Chart::new(definition) {
                let again = Chart::new(chart.definition().clone());
                assert!(again.is_ok(), "a chart that is legal is not legal with its ids");
            }
        } else if let Ok(text) = std::str::from_utf8(text) {
            let Ok(checkpoint) = Checkpoint::from_json(text) else { return };
            assert!(checkpoint.to_json().is_ok(), "a checkpoint that was read is not written");
        }
    },
};

/// An SCXML document.
pub(super) const DOCUMENTS: Target = Target {
    name: "documents",
    corpus: include_str!("../../corpus/documents.hex"),
    growth_max: None,
    every: 4,
    run: |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let around = Surroundings { language: &Ours, load: &|_| None, library: &BTreeMap::new() };
        let Ok(definition) = import(text, &around) else { return };
        drop(Chart::new(definition));
    },
};

fn header() -> TraceHeader {
    TraceHeader {
        version: TRACE_VERSION,
        program: "fuzz".to_owned(),
        node: NodeKey::from_seed(&[1; 32]).public(),
        store: StoreId::new(7),
        settings: Settings::default(),
    }
}

pub(super) fn streams() -> Vec<Vec<u8>> {
    let frame = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
        [&length[..], bytes].concat()
    };
    let some = [frame(b"one"), frame(b""), frame(&[7; 300])].concat();
    let long = [frame(b"one"), 600_u32.to_le_bytes().to_vec()].concat();
    [(1, &some), (3, &some), (255, &some), (2, &long)]
        .iter()
        .map(|(piece, stream)| [&[*piece][..], stream].concat())
        .collect()
}

pub(super) fn envelopes() -> Vec<Vec<u8>> {
    let whole = |version: u8| [vec![version], (0..80).collect()].concat();
    vec![whole(1), whole(2), vec![1; 80], vec![1; 82]]
}

pub(super) fn admin() -> Vec<Vec<u8>> {
    let request = |ask| encoded(0, &Request { v: VERSION, id: 7, ask });
    vec![
        request(Ask::Node {}),
        request(Ask::Nodes {}),
        request(Ask::Daemons {}),
        request(Ask::Find { daemon: "o17".to_owned() }),
        [&[1][..], br#"{"v":1,"id":7,"body":{"done":"nothing"}}"#].concat(),
    ]
}

fn encoded(which: u8, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![which];
    bytes.extend(serde_json::to_vec(value).unwrap_or_default());
    bytes
}

pub(super) fn traces() -> Vec<Vec<u8>> {
    let entity = Identity::from_seed(&[3; 32]).entity_id();
    let now = Time::from_nanos(5);
    let seat = TraceRecord::Seat { entity, snapshot_every: 9 };
    let opened = TraceRecord::Opened { entity, now, outputs: Bytes::new() };
    let record = |record: &TraceRecord| {
        let bytes = encode(record);
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        [vec![length], bytes].concat()
    };
    vec![record(&seat), [record(&seat), record(&opened)].concat()]
}

/// A door that shuts by itself.
const DOOR: &str = r#"{"id":"door","version":"1","states":[{"id":"shut","transitions":[{"on":["open"],"to":["open"]}]},{"id":"open","on_entry":[[{"send":{"event":"shut","delay":"30s"}}]],"transitions":[{"id":"shuts","on":["shut"],"to":["shut"]}]}]}"#;

pub(super) fn charts() -> Vec<Vec<u8>> {
    let checkpoint = br#"{"format":1,"digest":""}"#;
    vec![[&[0][..], DOOR.as_bytes()].concat(), [&[1][..], checkpoint].concat()]
}

pub(super) fn documents() -> Vec<Vec<u8>> {
    let small = r#"<scxml xmlns="http://www.w3.org/2005/07/scxml" version="1.0" initial="a"><datamodel><data id="x" expr="1"/></datamodel><state id="a"><onentry><raise event="go"/></onentry><transition event="go" cond="x == 1" target="b"><assign location="x" expr="x + 1"/></transition></state><parallel id="b"><state id="c"/><state id="d"><history id="h"><transition target="e"/></history><state id="e"/></state></parallel><final id="f"/></scxml>"#;
    vec![small.as_bytes().to_vec(), b"<scxml version=\"1.0\"/>".to_vec()]
}
