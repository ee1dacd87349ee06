//! Decides what a disk holds, what of it would survive, and which calls fail.
//!
//! # Invariants
//!
//! * V1 (synced stays): what a sync that succeeded has saved is found after any crash.
//! * V2 (rest is open): each sector of a later write is found whole, torn or not at all, and none
//!   of this depends on anything but the seed.

use std::collections::BTreeMap;

/// What the disk writes as a whole, unless it tears.
pub(super) const SECTOR_BYTES: usize = 512;

/// The files of one disk and its pending faults.
#[derive(Debug, Default)]
pub(super) struct Image {
    files: BTreeMap<String, File>,
    /// Handles that were opened in another life are dead.
    pub(super) life: u64,
    handles: u64,
    random: Random,
    pub(super) stopped: bool,
    pub(super) syncs: u64,
    pub(super) writes: u64,
    pub(super) bytes_max: Option<u64>,
    pub(super) failing_syncs: u64,
    pub(super) syncs_left: Option<u64>,
    pub(super) writes_left: Option<u64>,
    /// Calls that change something, counted whether they succeed or not.
    pub(super) calls: u64,
    pub(super) calls_left: Option<u64>,
    pub(super) stopped_at: Option<(String, DiskCall)>,
}

/// A call that changes what a disk holds or will hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DiskCall {
    /// A file is made.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut.
    Truncate,
    /// What was done to a file is made durable.
    Sync,
    /// A file is removed.
    Remove,
}

#[derive(Debug, Default)]
struct File {
    /// What a reader finds.
    now: Vec<u8>,
    /// What was synced; none if it would be gone.
    durable: Option<Vec<u8>>,
    /// What was done since.
    pending: Vec<Pending>,
    /// It was made, or made anew, since the last sync: nothing of `durable` is beneath `pending`.
    fresh: bool,
    /// It was removed, which no sync confirms.
    removed: bool,
    /// The handle that has locked it.
    locked: Option<u64>,
}

#[derive(Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Dead,
    Missing,
    Full,
    Sync,
    Locked,
}

/// Names an open file.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) path: String,
    life: u64,
    handle: u64,
}

/// SplitMix64.
#[derive(Debug, Default)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number from 0 on, below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl Image {
    pub(super) fn clear(&mut self) {
        *self = Self { life: self.life + 1, ..Self::default() };
    }

    pub(super) fn kill(&mut self) {
        self.life += 1;
        self.stopped_at = None;
        self.stopped = false;
        (self.bytes_max, self.failing_syncs) = (None, 0);
        (self.syncs_left, self.writes_left, self.calls_left) = (None, None, None);
        self.files.values_mut().for_each(|file| file.locked = None);
    }

    pub(super) fn crash(&mut self, seed: u64) {
        self.kill();
        let mut random = Random(seed);
        let files = std::mem::take(&mut self.files);
        let survive = |(path, file): (String, File)| Some((path, file.survive(&mut random)?));
        self.files = files.into_iter().filter_map(survive).collect();
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.values().filter(|file| !file.removed).map(|file| file.now.len() as u64).sum()
    }

    pub(super) fn flip(&mut self, path: &str, offset: usize) -> bool {
        let Some(file) = self.files.get_mut(path) else { return false };
        let durable = file.durable.as_mut().and_then(|bytes| bytes.get_mut(offset));
        let (Some(durable), Some(now)) = (durable, file.now.get_mut(offset)) else { return false };
        *durable ^= 1;
        *now ^= 1;
        true
    }

    /// One more call that changes something, unless it is the one at which everything stops.
    fn step(&mut self, path: &str, call: DiskCall) -> Result<(), Fault> {
        self.calls += 1;
        if count_down(&mut self.calls_left) {
            return Ok(());
        }
        self.stopped = true;
        self.stopped_at = Some((path.to_owned(), call));
        Err(Fault::Dead)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|file| !file.removed)
    }

    pub(super) fn open(&mut self, path: &str, create: bool) -> Result<Key, Fault> {
        if self.stopped {
            return Err(Fault::Dead);
        }
        if !self.exists(path) {
            if !create {
                return Err(Fault::Missing);
            }
            self.step(path, DiskCall::Create)?;
            let file = self.files.entry(path.to_owned()).or_default();
            let durable = file.durable.take();
            *file = File { durable, fresh: true, ..File::default() };
        }
        self.handles += 1;
        Ok(Key { path: path.to_owned(), life: self.life, handle: self.handles })
    }

    pub(super) fn close(&mut self, key: &Key) {
        if let Ok(file) = self.file(key)
            && file.locked == Some(key.handle)
        {
            file.locked = None;
        }
    }

    pub(super) fn remove(&mut self, path: &str, synced: bool) -> Result<(), Fault> {
        if self.stopped {
            return Err(Fault::Dead);
        }
        if !self.exists(path) {
            return Err(Fault::Missing);
        }
        self.step(path, DiskCall::Remove)?;
        if synced {
            self.files.remove(path);
        } else if let Some(file) = self.files.get_mut(path) {
            file.removed = true;
        }
        Ok(())
    }

    fn file(&mut self, key: &Key) -> Result<&mut File, Fault> {
        if self.stopped || key.life != self.life {
            return Err(Fault::Dead);
        }
        self.files.get_mut(&key.path).filter(|file| !file.removed).ok_or(Fault::Dead)
    }

    pub(super) fn lock(&mut self, key: &Key) -> Result<(), Fault> {
        let file = self.file(key)?;
        if file.locked.is_some_and(|owner| owner != key.handle) {
            return Err(Fault::Locked);
        }
        file.locked = Some(key.handle);
        Ok(())
    }

    pub(super) fn unlock(&mut self, key: &Key) {
        self.close(key);
    }

    pub(super) fn length(&mut self, key: &Key) -> Result<usize, Fault> {
        Ok(self.file(key)?.now.len())
    }

    /// Fills `out` from `offset`; how many bytes there were.
    pub(super) fn read(
        &mut self,
        key: &Key,
        offset: usize,
        out: &mut [u8],
    ) -> Result<usize, Fault> {
        let now = &self.file(key)?.now;
        let found = now.get(offset..).unwrap_or_default();
        let length = found.len().min(out.len());
        out[..length].copy_from_slice(&found[..length]);
        out[length..].fill(0);
        Ok(length)
    }

    pub(super) fn write(&mut self, key: &Key, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.file(key)?;
        self.step(&key.path, DiskCall::Write)?;
        let end = offset.checked_add(bytes.len()).ok_or(Fault::Full)?;
        if !count_down(&mut self.writes_left) {
            self.stopped = true;
            return Err(Fault::Dead);
        }
        let total = self.bytes();
        let bytes_max = self.bytes_max;
        let file = self.file(key)?;
        let grown = end.saturating_sub(file.now.len()) as u64;
        if 0 < grown && bytes_max.is_some_and(|bytes_max| bytes_max < total + grown) {
            return Err(Fault::Full);
        }
        put(&mut file.now, offset, bytes);
        file.pending.push(Pending::Write { offset, bytes: bytes.to_vec() });
        self.writes += 1;
        Ok(())
    }

    pub(super) fn truncate(&mut self, key: &Key, length: usize) -> Result<(), Fault> {
        self.file(key)?;
        self.step(&key.path, DiskCall::Truncate)?;
        let file = self.file(key)?;
        file.now.truncate(length);
        file.pending.push(Pending::Truncate(length));
        Ok(())
    }

    pub(super) fn sync(&mut self, key: &Key) -> Result<(), Fault> {
        self.file(key)?;
        self.step(&key.path, DiskCall::Sync)?;
        if !count_down(&mut self.syncs_left) {
            self.stopped = true;
            return Err(Fault::Dead);
        }
        let fails = 0 < self.failing_syncs;
        self.failing_syncs -= u64::from(fails);
        let seed = self.random.next();
        let file = self.file(key)?;
        if fails {
            // The disk may have saved some of it, and forgets that it owes the rest.
            file.durable = file.surviving(&mut Random(seed));
            file.pending.clear();
            file.fresh = false;
            return Err(Fault::Sync);
        }
        let mut durable = file.beneath();
        for pending in file.pending.drain(..) {
            match pending {
                Pending::Write { offset, bytes } => put(&mut durable, offset, &bytes),
                Pending::Truncate(length) => durable.truncate(length),
            }
        }
        file.durable = Some(durable);
        file.fresh = false;
        self.syncs += 1;
        Ok(())
    }

    /// Bytes that only look random.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.random.next() as u8);
    }
}

/// Whether there is one left; takes it.
fn count_down(left: &mut Option<u64>) -> bool {
    match left {
        None => true,
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl File {
    /// What lies beneath the pending writes, taken.
    fn beneath(&mut self) -> Vec<u8> {
        let durable = self.durable.take().unwrap_or_default();
        if self.fresh { Vec::new() } else { durable }
    }

    /// The file after the power went; none if it is gone.
    fn survive(mut self, random: &mut Random) -> Option<Self> {
        if self.removed && random.below(2) == 0 {
            return None;
        }
        let now = self.surviving(random)?;
        let durable = Some(now.clone());
        Some(Self { now, durable, ..Self::default() })
    }

    /// What the disk might hold.
    fn surviving(&mut self, random: &mut Random) -> Option<Vec<u8>> {
        if self.fresh && random.below(3) == 0 {
            return self.durable.take();
        }
        // Some crashes lose nearly everything, some nearly nothing, some lose single sectors.
        let kept = [0, 1, 8, 15, 16][random.below(5) as usize];
        let prefix = random.below(2) == 0;
        let ordered = random.below(1 + self.pending.len() as u64) as usize;
        let mut bytes = self.beneath();
        for (index, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if prefix {
                // Everything up to some write, and then nothing.
                if index < ordered {
                    pending.apply(&mut bytes);
                } else if index == ordered {
                    pending.scatter(&mut bytes, 8, random);
                }
            } else {
                pending.scatter(&mut bytes, kept, random);
            }
        }
        Some(bytes)
    }
}

impl Pending {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => put(file, *offset, bytes),
            Self::Truncate(length) => file.truncate(*length),
        }
    }

    /// Does it in part: each sector with a chance of `kept` in 16, one of them perhaps torn.
    fn scatter(&self, file: &mut Vec<u8>, kept: u64, random: &mut Random) {
        let (offset, bytes) = match self {
            Self::Truncate(_) if random.below(16) < kept => return self.apply(file),
            Self::Truncate(_) => return,
            Self::Write { offset, bytes } => (*offset, bytes),
        };
        let mut done = 0;
        while done < bytes.len() {
            let start = offset + done;
            let length = (SECTOR_BYTES - start % SECTOR_BYTES).min(bytes.len() - done);
            let sector = &bytes[done..done + length];
            if random.below(16) < kept {
                put(file, start, sector);
            } else if random.below(16) == 0 {
                let torn = random.below(length as u64) as usize;
                put(file, start, &sector[..torn]);
            }
            done += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(image: &mut Image, bytes: &[u8]) -> Key {
        let key = image.open("file", true).unwrap();
        image.write(&key, 0, bytes).unwrap();
        key
    }

    fn content(image: &mut Image) -> Option<Vec<u8>> {
        let key = image.open("file", false).ok()?;
        let mut bytes = vec![0; image.length(&key).unwrap()];
        image.read(&key, 0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_stays_through_every_crash() {
        for seed in 0..200 {
            let mut image = Image::default();
            let key = written(&mut image, &[7; 2000]);
            image.sync(&key).unwrap();
            image.write(&key, 2000, &[8; 2000]).unwrap();
            image.crash(seed);
            assert_eq!(content(&mut image).unwrap()[..2000], [7; 2000]);
            assert_eq!(image.length(&key), Err(Fault::Dead));
        }
    }

    #[test]
    fn the_rest_is_open_to_be_found_whole_in_part_and_not_at_all() {
        let (mut whole, mut part, mut gone) = (0, 0, 0);
        for seed in 0..200 {
            let mut image = Image::default();
            written(&mut image, &[7; 4000]);
            image.crash(seed);
            match content(&mut image) {
                Some(bytes) if bytes == [7; 4000] => whole += 1,
                Some(bytes) if bytes.contains(&7) => part += 1,
                Some(_) | None => gone += 1,
            }
        }
        assert!(10 < whole.min(part).min(gone), "{whole} {part} {gone}");
    }

    #[test]
    fn equal_seeds_crash_equally() {
        let run = |seed| {
            let mut image = Image::default();
            written(&mut image, &[7; 40_000]);
            image.crash(seed);
            content(&mut image)
        };
        assert_eq!(run(5), run(5));
        assert!((0..20).any(|seed| run(seed) != run(5)));
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next() {
        let lost = (0..50).filter(|seed| {
            let mut image = Image { random: Random(*seed), ..Image::default() };
            let key = written(&mut image, &[7; 4000]);
            image.failing_syncs = 1;
            assert_eq!(image.sync(&key), Err(Fault::Sync));
            image.sync(&key).unwrap();
            assert_eq!(content(&mut image).unwrap(), [7; 4000], "a reader still finds it");
            image.crash(*seed);
            content(&mut image).is_none_or(|bytes| bytes != [7; 4000])
        });
        assert!(20 < lost.count());
    }

    #[test]
    fn a_full_disk_refuses_to_grow_and_lets_rewrite() {
        let mut image = Image::default();
        let key = written(&mut image, &[7; 1000]);
        image.bytes_max = Some(1200);
        assert_eq!(image.write(&key, 1000, &[8; 300]), Err(Fault::Full));
        assert_eq!(image.write(&key, 0, &[8; 1000]), Ok(()));
        assert_eq!(image.write(&key, 1000, &[8; 200]), Ok(()));
    }
}
