//! Decides how an isolate is written down: as chunks that are shared with what was written before.
//!
//! In order: the head (settings, what the life keeps, the state without its memories), the module,
//! and of each memory the pages of 64 KiB that are not all zero. A page or module that did not change
//! keeps its name, so it is neither hashed nor kept nor sent again.
//!
//! # Invariants
//!
//! * M1 (one encoding): equal isolates are written with equal chunks, and nothing else is read.
//!
//! # Limits
//!
//! * What the node allows ([`Policy`](super::Policy)) is held before anything is reserved.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use whimbrel_daemon::{
    ChunkVisitor, FrozenList, FrozenState, ListVisitor, RestoreError, SinkError, StateReader,
};
use whimbrel_wire::limits::{CHUNK_BYTES_MAX, CHUNK_LIST_LENGTH_MAX};
use whimbrel_wire::{ChunkList, ChunkRef, decode, encode};

use super::settings::{Policy, Schedules, Settings};
use crate::state::{BLOCK_BYTES, MemoryImage, PAGE_BYTES, VmState};

/// The version of what is written here.
const FORMAT: u8 = 1;

/// The same, with a schedule behind the head.
const FORMAT_SCHEDULED: u8 = 2;

const PAGE: usize = PAGE_BYTES as usize;

/// What is written first.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u8,
    settings: Settings,
    module_bytes: u64,
    /// The pages of each memory that are not all zero.
    pages: Vec<Vec<u32>>,
    /// The state with memories that are all zero.
    vm: Vec<u8>,
    /// What the life keeps beside it.
    life: Vec<u8>,
}

impl Head {
    fn bytes(self) -> Vec<u8> {
        match self.settings.schedule.bytes() {
            None => encode(&self),
            Some(schedule) => {
                [encode(&Self { format: FORMAT_SCHEDULED, ..self }), schedule.to_vec()].concat()
            }
        }
    }

    /// None if it is not written so.
    fn read(bytes: &[u8]) -> Option<Self> {
        let Some((rest, schedule)) =
            bytes.split_last_chunk().filter(|_| bytes[0] == FORMAT_SCHEDULED)
        else {
            let head: Self = decode(bytes).ok()?;
            return (head.format == FORMAT && encode(&head) == bytes).then_some(head);
        };
        let mut head: Self = decode(rest).ok()?;
        let whole = encode(&head) == rest;
        head.settings.schedule = Schedules::read(*schedule)?;
        whole.then_some(head)
    }
}

/// A piece of what is written.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    name: OnceLock<ChunkRef>,
}

impl Piece {
    fn new(bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { bytes, name: OnceLock::new() })
    }

    fn named(name: ChunkRef, bytes: Bytes) -> Arc<Self> {
        Arc::new(Self { bytes, name: OnceLock::from(name) })
    }

    fn name(&self) -> ChunkRef {
        *self.name.get_or_init(|| ChunkRef::of(&self.bytes))
    }
}

/// A module in pieces, shared by everything that is written of one isolate.
#[derive(Clone, Debug)]
pub(super) struct ModulePieces(Arc<[Arc<Piece>]>);

impl ModulePieces {
    pub(super) fn of(module: &[u8]) -> Self {
        let pieces = module.chunks(CHUNK_BYTES_MAX).map(Bytes::copy_from_slice).map(Piece::new);
        Self(pieces.collect())
    }
}

/// An isolate as it was at one moment.
#[derive(Debug)]
pub(super) struct Image {
    settings: Settings,
    head: Arc<Piece>,
    module: ModulePieces,
    vm: VmState,
    life: Vec<u8>,
    memories: Vec<Vec<(u32, Arc<Piece>)>>,
    lists: OnceLock<Vec<List>>,
}

/// What an isolate goes on from.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) module: ModulePieces,
    pub(super) vm: VmState,
    pub(super) life: Vec<u8>,
}

impl Image {
    /// The image of these parts; pages that are as in `before` are shared with it.
    pub(super) fn of(parts: Parts, before: Option<&Self>) -> Self {
        let Parts { settings, module, mut vm, life } = parts;
        let mut memories = Vec::with_capacity(vm.memories.len());
        for (index, memory) in vm.memories.iter_mut().enumerate() {
            let known = before.and_then(|before| before.memories.get(index));
            memories.push(pages(memory, known.map_or(&[], Vec::as_slice)));
            *memory = MemoryImage::empty(memory.pages, memory.pages_max);
        }
        let head = Head {
            format: FORMAT,
            settings,
            module_bytes: module.0.iter().map(|piece| piece.bytes.len() as u64).sum(),
            pages: memories.iter().map(|pages| pages.iter().map(|(at, _)| *at).collect()).collect(),
            vm: vm.encode(),
            life: life.clone(),
        };
        let head = Piece::new(head.bytes().into());
        Self { settings, head, module, vm, life, memories, lists: OnceLock::new() }
    }

    /// What goes on from here.
    pub(super) fn parts(&self) -> Parts {
        let mut vm = self.vm.clone();
        for (memory, pages) in vm.memories.iter_mut().zip(&self.memories) {
            for (number, piece) in pages {
                memory.append(u64::from(*number) * PAGE_BYTES, &piece.bytes);
            }
        }
        let Self { settings, module, life, .. } = self;
        Parts { settings: *settings, module: module.clone(), vm, life: life.clone() }
    }

    /// The image that is read, and the bytes of its module.
    ///
    /// The first list is open already: without one there is no isolate.
    pub(super) fn read(
        state: &mut StateReader<'_>,
        policy: &Policy,
    ) -> Result<(Self, Vec<u8>), RestoreError> {
        const BROKEN: RestoreError = RestoreError::Malformed("the head of the isolate is broken");
        let head_bytes = read_open_list(state, policy.module_bytes_max)?;
        let whole = joined(&head_bytes);
        let head = Head::read(&whole).ok_or(BROKEN)?;
        let declined = |why: &dyn std::fmt::Display| RestoreError::declined(why.to_string());
        policy.allows(&head.settings).map_err(|why| declined(&why))?;
        let pieces = read_list(state, policy.module_bytes_max)?;
        let bytes = joined(&pieces);
        let whole_but_last = &pieces[..pieces.len().saturating_sub(1)];
        let cut = whole_but_last.iter().all(|piece| piece.bytes.len() == CHUNK_BYTES_MAX);
        if bytes.len() as u64 != head.module_bytes || !cut {
            return Err(RestoreError::Malformed("the module has another length"));
        }
        let vm =
            VmState::decode(&head.vm, &policy.decode_limits()).map_err(|why| declined(&why))?;
        // The program goes by what its state says, and the node has allowed what the settings say.
        if vm.limits != head.settings.limits || vm.nan != head.settings.nan {
            return Err(RestoreError::Malformed("the state has other limits than the isolate"));
        }
        if head.pages.len() != vm.memories.len() {
            return Err(RestoreError::Malformed("pages of memories that are not there"));
        }
        let mut memories = Vec::new();
        for (numbers, memory) in head.pages.iter().zip(&vm.memories) {
            if !memory.numbers().is_empty() {
                return Err(RestoreError::Malformed("a memory is written in the head"));
            }
            if memory.pages.saturating_mul(PAGE_BYTES) > head.settings.limits.memory_bytes_max {
                return Err(RestoreError::Malformed("a memory is larger than it may be"));
            }
            memories.push(read_pages(state, numbers, memory.pages)?);
        }
        let module = ModulePieces(pieces.into());
        let head_piece = match &head_bytes[..] {
            [one] => Arc::clone(one),
            _ => Piece::new(whole.into()),
        };
        let image = Self {
            settings: head.settings,
            head: head_piece,
            module,
            vm,
            life: head.life,
            memories,
            lists: OnceLock::new(),
        };
        Ok((image, bytes))
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn module(&self) -> &ModulePieces {
        &self.module
    }

    /// The state, with memories that are all zero.
    pub(super) fn vm(&self) -> &VmState {
        &self.vm
    }

    /// What the life keeps beside the state.
    pub(super) fn life(&self) -> &[u8] {
        &self.life
    }

    /// How large its memories are, for people.
    pub(super) fn size(&self) -> String {
        let pages: u64 = self.vm.memories.iter().map(|memory| memory.pages).sum();
        format!("{} KiB", pages * (PAGE_BYTES >> 10))
    }

    fn lists(&self) -> &[List] {
        self.lists.get_or_init(|| {
            let head = self.head.bytes.chunks(CHUNK_BYTES_MAX).count();
            let head: Vec<Arc<Piece>> = if head == 1 {
                vec![Arc::clone(&self.head)]
            } else {
                let bytes = &self.head.bytes;
                let cut = |at: usize| bytes.slice(at..bytes.len().min(at + CHUNK_BYTES_MAX));
                (0..bytes.len()).step_by(CHUNK_BYTES_MAX).map(|at| Piece::new(cut(at))).collect()
            };
            let mut lists = vec![List::of(head), List::of(self.module.0.to_vec())];
            for pages in &self.memories {
                let pages = pages.chunks(CHUNK_LIST_LENGTH_MAX);
                lists.extend(pages.map(|pages| {
                    List::of(pages.iter().map(|(_, piece)| Arc::clone(piece)).collect())
                }));
            }
            lists
        })
    }
}

/// The pages of a memory that are not all zero.
fn pages(memory: &MemoryImage, known: &[(u32, Arc<Piece>)]) -> Vec<(u32, Arc<Piece>)> {
    let mut pages: Vec<(u32, Arc<Piece>)> = Vec::new();
    let mut open: Option<(u32, Vec<u8>)> = None;
    let mut close = |open: Option<(u32, Vec<u8>)>| {
        let Some((number, bytes)) = open else { return };
        let same = known.binary_search_by_key(&number, |(at, _)| *at).ok().map(|at| &known[at].1);
        let same = same.filter(|piece| piece.bytes[..] == bytes[..]);
        pages.push((number, same.cloned().unwrap_or_else(|| Piece::new(bytes.into()))));
    };
    for (block, bytes) in memory.blocks() {
        let at = block as usize * BLOCK_BYTES;
        let number = (at / PAGE) as u32;
        if open.as_ref().is_none_or(|(page, _)| *page != number) {
            close(open.take());
            open = Some((number, vec![0; PAGE]));
        }
        if let Some((_, page)) = &mut open {
            page[at % PAGE..][..BLOCK_BYTES].copy_from_slice(bytes);
        }
    }
    close(open);
    pages
}

/// The bytes of these pieces, one after the other.
fn joined(pieces: &[Arc<Piece>]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece.bytes[..]).collect();
    pieces.concat()
}

/// The chunks of the next list, at most so many bytes.
fn read_list(
    state: &mut StateReader<'_>,
    bytes_max: usize,
) -> Result<Vec<Arc<Piece>>, RestoreError> {
    if state.next_list()?.is_none() {
        return Err(RestoreError::Malformed("a part of the isolate is missing"));
    }
    read_open_list(state, bytes_max)
}

fn read_open_list(
    state: &mut StateReader<'_>,
    bytes_max: usize,
) -> Result<Vec<Arc<Piece>>, RestoreError> {
    let (mut pieces, mut bytes) = (Vec::new(), 0);
    while let Some((name, chunk)) = state.next_chunk()? {
        bytes += chunk.len();
        if bytes > bytes_max {
            return Err(RestoreError::declined("a part of the isolate is larger than allowed"));
        }
        pieces.push(Piece::named(name, chunk));
    }
    Ok(pieces)
}

fn read_pages(
    state: &mut StateReader<'_>,
    numbers: &[u32],
    pages: u64,
) -> Result<Vec<(u32, Arc<Piece>)>, RestoreError> {
    let ascending = numbers.is_sorted_by(|a, b| a < b);
    if !ascending || numbers.last().is_some_and(|last| u64::from(*last) >= pages) {
        return Err(RestoreError::Malformed("pages are out of order or out of bounds"));
    }
    let mut read = Vec::with_capacity(numbers.len());
    for numbers in numbers.chunks(CHUNK_LIST_LENGTH_MAX) {
        let pieces = read_list(state, CHUNK_LIST_LENGTH_MAX * PAGE)?;
        let sound = |piece: &Arc<Piece>| {
            piece.bytes.len() == PAGE && piece.bytes.iter().any(|byte| *byte != 0)
        };
        if pieces.len() != numbers.len() || !pieces.iter().all(sound) {
            return Err(RestoreError::Malformed("a page is missing, of another size or zero"));
        }
        read.extend(numbers.iter().copied().zip(pieces));
    }
    Ok(read)
}

#[derive(Debug)]
struct List {
    pieces: Vec<Arc<Piece>>,
    named: OnceLock<(ChunkRef, Bytes)>,
}

impl List {
    fn of(pieces: Vec<Arc<Piece>>) -> Self {
        Self { pieces, named: OnceLock::new() }
    }

    fn named(&self) -> &(ChunkRef, Bytes) {
        self.named.get_or_init(|| {
            let list = ChunkList(self.pieces.iter().map(|piece| piece.name()).collect());
            let encoded = Bytes::from(encode(&list));
            (ChunkRef::of(&encoded), encoded)
        })
    }
}

impl FrozenState for Image {
    fn visit(&self, visitor: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        self.lists().iter().try_for_each(|list| visitor(list))
    }
}

impl FrozenList for List {
    fn name(&self) -> ChunkRef {
        self.named().0
    }

    fn encoded(&self) -> Bytes {
        self.named().1.clone()
    }

    fn chunks(&self) -> u64 {
        self.pieces.len() as u64
    }

    fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    fn visit(&self, visitor: &mut ChunkVisitor<'_>) -> Result<(), SinkError> {
        self.pieces.iter().try_for_each(|piece| visitor(piece.name(), &|| piece.bytes.clone()))
    }
}

/// Nothing: one that was neither founded nor restored.
pub(super) struct Nothing;

impl FrozenState for Nothing {
    fn visit(&self, _: &mut ListVisitor<'_>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use whimbrel_daemon::ChunkShelf;
    use whimbrel_wire::StateRef;

    use super::super::settings::Life;
    use super::*;
    use crate::host::NoHost;
    use crate::module::Module;
    use crate::state::{Limits, NanPolicy};

    /// Writes it as it travels, and reads it as a node with `policy` does.
    fn travels(image: &Image, policy: &Policy) -> Result<(), RestoreError> {
        let (state, mut shelf) = written(image);
        let mut reader = StateReader::new(&state, &mut shelf);
        reader.next_list()?;
        Image::read(&mut reader, policy).map(|_| ())
    }

    fn written(image: &Image) -> (StateRef, ChunkShelf) {
        let (mut shelf, mut lists) = (ChunkShelf::new(), Vec::new());
        let (mut bytes, mut chunks) = (0, 0);
        image
            .visit(&mut |list| {
                lists.push(list.name());
                shelf.insert(list.name(), list.encoded());
                (bytes, chunks) = (bytes + list.bytes(), chunks + list.chunks() as u32);
                list.visit(&mut |name, piece| {
                    shelf.insert(name, piece());
                    Ok(())
                })
            })
            .unwrap();
        (StateRef { bytes, chunks, lists }, shelf)
    }

    /// A peer says of a state what it likes; the program would go by what stands in it.
    #[test]
    fn a_state_with_other_limits_than_its_node_was_told_of_is_refused() {
        let wide = |limits: &mut Limits| {
            limits.memory_bytes_max = u64::MAX;
            limits.frames_max = u32::MAX;
        };
        let bytes = wat::parse_str("(module (memory 1))").unwrap();
        let module = Module::parse(&bytes).unwrap();
        let policy = Policy::default();
        let image = |change: &dyn Fn(&mut VmState)| {
            let (nan, limits) = (NanPolicy::Open, Limits::SMALL);
            let life = Life::Reactor;
            let settings = Settings {
                life,
                nan,
                limits,
                polls_max: 1,
                files_bytes_max: 0,
                schedule: Schedules::default(),
            };
            let mut vm = VmState::initial(&module, &NoHost, nan, limits).unwrap();
            change(&mut vm);
            let module = ModulePieces::of(&bytes);
            Image::of(Parts { settings, module, vm, life: Vec::new() }, None)
        };
        assert_eq!(travels(&image(&|_| {}), &policy), Ok(()));
        let changed = |change: &dyn Fn(&mut VmState)| travels(&image(change), &policy);
        let refused = Err(RestoreError::Malformed("the state has other limits than the isolate"));
        assert_eq!(changed(&|vm| wide(&mut vm.limits)), refused);
        assert_eq!(changed(&|vm| vm.nan = NanPolicy::Canonical), refused);
    }
}
