//! Reads the bytes of a state, which may be anybody's.
//!
//! Nothing is reserved by a number that was read before it was held against a limit and against how
//! many bytes there are. What is read is the one encoding of its state, or refused.

use thiserror::Error;

use crate::module::Digest;
use crate::state::{
    BLOCK_BYTES, Frame, Limits, MemoryImage, NanPolicy, PendingHostCall, STATE_FORMAT, STATE_MAGIC,
    TableImage, VmState,
};
use crate::value::{ValType, Value};

/// What a state may hold to be read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The most frames.
    pub frames_max: u32,
    /// The most locals or operands of one frame, globals, memories, tables or segments.
    pub entries_max: u32,
    /// The most elements of one table.
    pub table_elements_max: u32,
    /// The most pages of 64 KiB of all memories together, written or not: whoever places the state
    /// has to have room for them.
    pub pages_max: u64,
    /// The most bytes in the blocks of all memories.
    pub memory_bytes_max: u64,
    /// The most bytes that the host noted on a pending call.
    pub note_bytes_max: u32,
}

impl DecodeLimits {
    /// 20,000 frames, 100,000 entries, 10,000,000 elements, 4 GiB of memory, whether written or not,
    /// 64 KiB of notes.
    pub const WIDE: Self = Self {
        frames_max: 20_000,
        entries_max: 100_000,
        table_elements_max: 10_000_000,
        pages_max: 1 << 16,
        memory_bytes_max: 4 << 30,
        note_bytes_max: 64 << 10,
    };
}

/// Why bytes are no state.
///
/// Fault: whoever sent or kept them. Changed: nothing. Again: no, not with these bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They end too early.
    #[error("the state ends within {0}")]
    Ended(&'static str),
    /// They do not begin as a state does.
    #[error("this is no state of a program")]
    NoState,
    /// They are of a format that is not known here.
    #[error("the format {0} of the state is not known")]
    UnknownFormat(u16),
    /// They need a feature that is not known here.
    #[error("the state needs features {0:#x} that are not known")]
    UnknownFeatures(u64),
    /// A number is above a limit.
    #[error("{what}: {count} is more than {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there would be.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A byte that means nothing, or something written in another way than its only one.
    #[error("{0} is not written as it must be")]
    Malformed(&'static str),
    /// The digest is not that of the bytes.
    #[error("the digest of the state is wrong")]
    WrongDigest,
    /// The blocks of a memory are not those that the digest stands for.
    #[error("the hash of memory {0} is wrong")]
    WrongMemory(usize),
}

impl VmState {
    /// Reads a state. It is only data until [`Self::check`] has seen it.
    pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, DecodeError> {
        let mut reader = Reader { bytes, at: 0, limits };
        reader.header()?;
        let module = Digest(reader.array("the module")?);
        let nan = match reader.byte("the NaN policy")? {
            0 => NanPolicy::Open,
            1 => NanPolicy::Canonical,
            _ => return Err(DecodeError::Malformed("the NaN policy")),
        };
        let own_limits = Limits {
            memory_bytes_max: reader.wide("the limits")?,
            table_elements_max: reader.wide("the limits")?,
            frames_max: reader.number("the limits")?,
        };
        let fuel = if reader.flag("the fuel")? { Some(reader.wide("the fuel")?) } else { None };
        let frames = reader.list("frames", limits.frames_max, 16, Reader::frame)?;
        let pending = if reader.flag("the host call")? { Some(reader.pending()?) } else { None };
        let entries = limits.entries_max;
        let globals = reader.list("globals", entries, 5, Reader::value)?;
        let tables = reader.list("tables", entries, 13, Reader::table)?;
        let dropped_elements =
            reader.list("element segments", entries, 1, |reader| reader.flag("segments"))?;
        let dropped_data =
            reader.list("data segments", entries, 1, |reader| reader.flag("segments"))?;
        let heads = reader.list("memories", entries, 52, Reader::memory)?;
        let head_bytes = reader.at;
        if reader.array::<32>("the digest")? != *blake3::hash(&bytes[..head_bytes]).as_bytes() {
            return Err(DecodeError::WrongDigest);
        }
        let memories = reader.blocks(heads)?;
        if reader.at != bytes.len() {
            return Err(DecodeError::Malformed("the end of the state"));
        }
        Ok(Self {
            module,
            nan,
            limits: own_limits,
            fuel,
            frames,
            pending,
            globals,
            memories,
            tables,
            dropped_elements,
            dropped_data,
        })
    }
}

/// A memory before its blocks were read.
struct MemoryHead {
    pages: (u64, u64),
    numbers: Vec<u64>,
    root: Digest,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a DecodeLimits,
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Result<(), DecodeError> {
        if self.array::<8>("its first bytes")? != STATE_MAGIC {
            return Err(DecodeError::NoState);
        }
        let format = u16::from_le_bytes(self.array("the format")?);
        if format != STATE_FORMAT {
            return Err(DecodeError::UnknownFormat(format));
        }
        match self.wide("the features")? {
            0 => Ok(()),
            features => Err(DecodeError::UnknownFeatures(features)),
        }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..count).ok_or(DecodeError::Ended(what))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    fn number(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn wide(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed(what)),
        }
    }

    fn optional(&mut self) -> Result<Option<u32>, DecodeError> {
        Ok(self.number("a reference")?.checked_sub(1))
    }

    /// A list whose entries take at least `entry_bytes` each.
    fn list<T>(
        &mut self,
        what: &'static str,
        limit: u32,
        entry_bytes: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.number(what)?;
        if count > limit {
            let (count, limit) = (u64::from(count), u64::from(limit));
            return Err(DecodeError::TooMany { what, count, limit });
        }
        let left = self.bytes.len() - self.at;
        if (count as usize).saturating_mul(entry_bytes) > left {
            return Err(DecodeError::Ended(what));
        }
        let mut entries = Vec::with_capacity(count as usize);
        for _ in 0..count {
            entries.push(read(self)?);
        }
        Ok(entries)
    }

    fn ty(&mut self) -> Result<ValType, DecodeError> {
        ValType::from_byte(self.byte("a type")?).ok_or(DecodeError::Malformed("a type"))
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        Ok(match self.ty()? {
            ValType::I32 => Value::I32(self.number("a value")?),
            ValType::F32 => Value::F32(self.number("a value")?),
            ValType::I64 => Value::I64(self.wide("a value")?),
            ValType::F64 => Value::F64(self.wide("a value")?),
            ValType::V128 => Value::V128(u128::from_le_bytes(self.array("a value")?)),
            ValType::FuncRef => Value::FuncRef(self.optional()?),
            ValType::ExternRef => Value::ExternRef(self.optional()?),
        })
    }

    fn frame(&mut self) -> Result<Frame, DecodeError> {
        let function = self.number("a frame")?;
        let position = self.number("a frame")?;
        let entries = self.limits.entries_max;
        let locals = self.list("locals", entries, 9, |reader| {
            Ok((reader.number("a local")?, reader.value()?))
        })?;
        let operands = self.list("operands", entries, 5, Self::value)?;
        Ok(Frame { function, position, locals, operands })
    }

    fn pending(&mut self) -> Result<PendingHostCall, DecodeError> {
        let function = self.number("the host call")?;
        let limit = self.limits.note_bytes_max;
        let note = self.list("bytes of the note", limit, 1, |reader| reader.byte("the note"))?;
        Ok(PendingHostCall { function, note })
    }

    fn table(&mut self) -> Result<TableImage, DecodeError> {
        let element = self.ty()?;
        if !element.is_reference() {
            return Err(DecodeError::Malformed("the type of a table"));
        }
        let elements_max = self.wide("a table")?;
        let limit = self.limits.table_elements_max;
        let elements = self.list("elements of a table", limit, 4, Self::optional)?;
        Ok(TableImage { element, elements_max, elements })
    }

    fn memory(&mut self) -> Result<MemoryHead, DecodeError> {
        let pages = (self.wide("a memory")?, self.wide("a memory")?);
        let limit = self.limits.memory_bytes_max / BLOCK_BYTES as u64;
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let numbers = self.list("blocks", limit, 8, |reader| reader.wide("a block"))?;
        let root = Digest(self.array("the hash of a memory")?);
        Ok(MemoryHead { pages, numbers, root })
    }

    fn blocks(&mut self, heads: Vec<MemoryHead>) -> Result<Vec<MemoryImage>, DecodeError> {
        let pages = heads.iter().fold(0_u64, |sum, head| sum.saturating_add(head.pages.0));
        if pages > self.limits.pages_max {
            let limit = self.limits.pages_max;
            return Err(DecodeError::TooMany { what: "pages of memory", count: pages, limit });
        }
        let count: u64 =
            heads.iter().map(|head| head.numbers.len() as u64 * BLOCK_BYTES as u64).sum();
        if count > self.limits.memory_bytes_max {
            let limit = self.limits.memory_bytes_max;
            return Err(DecodeError::TooMany { what: "bytes of memory", count, limit });
        }
        let mut memories = Vec::with_capacity(heads.len());
        for (index, head) in heads.into_iter().enumerate() {
            let bytes = self.take(head.numbers.len() * BLOCK_BYTES, "the blocks")?.to_vec();
            let image = MemoryImage::from_blocks(head.pages, head.numbers, bytes)
                .ok_or(DecodeError::Malformed("the blocks of a memory"))?;
            if image.root() != head.root {
                return Err(DecodeError::WrongMemory(index));
            }
            memories.push(image);
        }
        Ok(memories)
    }
}
