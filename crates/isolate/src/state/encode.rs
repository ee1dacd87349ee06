//! The bytes of a state.
//!
//! All numbers are little-endian. A list is its length as u32 and its entries; a value is the byte of
//! its type and 4, 8 or 16 bytes; an optional index is a u32 with one added, 0 for none. In order:
//!
//! 1. [`STATE_MAGIC`], [`STATE_FORMAT`] as u16, feature flags as u64 (none is defined);
//! 2. module (32 bytes), NaN policy (u8), limits (u64, u64, u32), fuel (u8 and, if 1, u64);
//! 3. frames: function, position (u32 each), locals (index as u32, value), operands;
//! 4. pending host call (u8 and, if 1, function as u32 and note as bytes);
//! 5. globals; tables (type, most elements as u64, elements); dropped element and data segments (one byte each);
//! 6. memories: pages and most pages (u64 each), block numbers (u64 each), root of the hash tree;
//! 7. BLAKE3 of everything up to here: the digest of the state;
//! 8. the blocks of all memories, 4 KiB each. The roots bind them to the digest.

use crate::module::Digest;
use crate::state::{MemoryImage, NanPolicy, VmState};
use crate::value::Value;

/// How an encoded state begins.
pub const STATE_MAGIC: [u8; 8] = *b"whimvmst";

/// The version of the format.
pub const STATE_FORMAT: u16 = 1;

impl VmState {
    /// The state as bytes; equal states have equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let blocks: usize = self.memories.iter().map(|memory| memory.bytes().len()).sum();
        let mut out = self.head(blocks);
        let digest = blake3::hash(&out);
        out.extend_from_slice(digest.as_bytes());
        for memory in &self.memories {
            out.extend_from_slice(memory.bytes());
        }
        out
    }

    /// The digest of the state: what names it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(*blake3::hash(&self.head(0)).as_bytes())
    }

    fn head(&self, room: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + room);
        out.extend_from_slice(&STATE_MAGIC);
        out.extend_from_slice(&STATE_FORMAT.to_le_bytes());
        out.extend_from_slice(&0_u64.to_le_bytes());
        out.extend_from_slice(&self.module.0);
        out.push(match self.nan {
            NanPolicy::Open => 0,
            NanPolicy::Canonical => 1,
        });
        out.extend_from_slice(&self.limits.memory_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.limits.table_elements_max.to_le_bytes());
        number(&mut out, self.limits.frames_max);
        match self.fuel {
            None => out.push(0),
            Some(fuel) => {
                out.push(1);
                out.extend_from_slice(&fuel.to_le_bytes());
            }
        }
        list(&mut out, &self.frames, |out, frame| {
            number(out, frame.function);
            number(out, frame.position);
            list(out, &frame.locals, |out, (index, held)| {
                number(out, *index);
                value(out, *held);
            });
            list(out, &frame.operands, |out, held| value(out, *held));
        });
        match &self.pending {
            None => out.push(0),
            Some(pending) => {
                out.push(1);
                number(&mut out, pending.function);
                list(&mut out, &pending.note, |out, byte| out.push(*byte));
            }
        }
        list(&mut out, &self.globals, |out, held| value(out, *held));
        list(&mut out, &self.tables, |out, table| {
            out.push(table.element as u8);
            out.extend_from_slice(&table.elements_max.to_le_bytes());
            list(out, &table.elements, |out, element| optional(out, *element));
        });
        list(&mut out, &self.dropped_elements, |out, dropped| out.push(u8::from(*dropped)));
        list(&mut out, &self.dropped_data, |out, dropped| out.push(u8::from(*dropped)));
        list(&mut out, &self.memories, memory);
        out
    }
}

fn number(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn list<T>(out: &mut Vec<u8>, entries: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    number(out, entries.len() as u32);
    entries.iter().for_each(|entry| write(out, entry));
}

fn optional(out: &mut Vec<u8>, index: Option<u32>) {
    number(out, index.map_or(0, |index| index.saturating_add(1)));
}

fn value(out: &mut Vec<u8>, held: Value) {
    out.push(held.ty() as u8);
    match held {
        Value::I32(bits) | Value::F32(bits) => number(out, bits),
        Value::I64(bits) | Value::F64(bits) => out.extend_from_slice(&bits.to_le_bytes()),
        Value::V128(bits) => out.extend_from_slice(&bits.to_le_bytes()),
        Value::FuncRef(index) | Value::ExternRef(index) => optional(out, index),
    }
}

fn memory(out: &mut Vec<u8>, memory: &MemoryImage) {
    out.extend_from_slice(&memory.pages.to_le_bytes());
    out.extend_from_slice(&memory.pages_max.to_le_bytes());
    list(out, memory.numbers(), |out, block| out.extend_from_slice(&block.to_le_bytes()));
    out.extend_from_slice(&memory.root().0);
}
