//! Decides what the files of an isolate are: a tree in its memory, which travels with it.
//!
//! # Limits
//!
//! * [`NAME_BYTES_MAX`]: a longer name is refused.
//! * [`FILES_MAX`] files and folders, and so many bytes in them as the tree was made for: beyond that
//!   there is no room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::errno::Errno;

/// The longest name.
const NAME_BYTES_MAX: usize = 255;

/// The most files and folders.
const FILES_MAX: usize = 10_000;

/// The folder in which all is.
pub(super) const ROOT: u64 = 1;

/// A file or folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Node {
    File(Vec<u8>),
    Folder { parent: u64, entries: BTreeMap<String, u64> },
}

/// What is known of a file beside what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    node: Node,
    /// Whether a folder names it.
    linked: bool,
    /// By how many descriptors it is open.
    open: u32,
    /// When it was last changed, in nanoseconds since the Unix epoch.
    changed: u64,
}

/// All files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Files {
    entries: BTreeMap<u64, Entry>,
    next: u64,
    bytes_max: u64,
}

impl Files {
    /// An empty tree for so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        let node = Node::Folder { parent: ROOT, entries: BTreeMap::new() };
        let root = Entry { node, linked: true, open: 0, changed: 0 };
        Self { entries: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, bytes_max }
    }

    /// The most bytes in all files.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn node(&self, inode: u64) -> Result<&Node, Errno> {
        self.entries.get(&inode).map(|entry| &entry.node).ok_or(Errno::BadF)
    }

    pub(super) fn changed(&self, inode: u64) -> u64 {
        self.entries.get(&inode).map_or(0, |entry| entry.changed)
    }

    pub(super) fn touch(&mut self, inode: u64, at: u64) {
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.changed = at;
        }
    }

    pub(super) fn file(&self, inode: u64) -> Result<&Vec<u8>, Errno> {
        match self.node(inode)? {
            Node::File(bytes) => Ok(bytes),
            Node::Folder { .. } => Err(Errno::IsDir),
        }
    }

    pub(super) fn folder(&self, inode: u64) -> Result<&BTreeMap<String, u64>, Errno> {
        match self.node(inode)? {
            Node::Folder { entries, .. } => Ok(entries),
            Node::File(_) => Err(Errno::NotDir),
        }
    }

    fn folder_mut(&mut self, inode: u64) -> Result<&mut BTreeMap<String, u64>, Errno> {
        match self.entries.get_mut(&inode).map(|entry| &mut entry.node) {
            Some(Node::Folder { entries, .. }) => Ok(entries),
            Some(Node::File(_)) => Err(Errno::NotDir),
            None => Err(Errno::BadF),
        }
    }

    fn bytes(&self) -> u64 {
        let length = |entry: &Entry| match &entry.node {
            Node::File(bytes) => bytes.len() as u64,
            Node::Folder { .. } => 0,
        };
        self.entries.values().map(length).sum()
    }

    /// Makes a file that many bytes long.
    pub(super) fn resize(&mut self, inode: u64, size: u64, at: u64) -> Result<(), Errno> {
        let before = self.file(inode)?.len() as u64;
        if size > before && (self.bytes() - before).saturating_add(size) > self.bytes_max {
            return Err(Errno::NoSpc);
        }
        let Some(Entry { node: Node::File(bytes), changed, .. }) = self.entries.get_mut(&inode)
        else {
            return Err(Errno::BadF);
        };
        bytes.resize(size as usize, 0);
        *changed = at;
        Ok(())
    }

    /// Writes at an offset; what lies between the end and it becomes zero.
    pub(super) fn write(
        &mut self,
        inode: u64,
        offset: u64,
        data: &[u8],
        at: u64,
    ) -> Result<(), Errno> {
        let end = offset.checked_add(data.len() as u64).ok_or(Errno::NoSpc)?;
        if end > self.file(inode)?.len() as u64 {
            self.resize(inode, end, at)?;
        }
        if let Some(Entry { node: Node::File(bytes), changed, .. }) = self.entries.get_mut(&inode) {
            bytes[offset as usize..end as usize].copy_from_slice(data);
            *changed = at;
        }
        Ok(())
    }

    /// The folder in which the last name of a path is, and that name. Paths do not lead out of
    /// `base`.
    pub(super) fn place(&self, base: u64, path: &str) -> Result<(u64, Option<String>), Errno> {
        if path.starts_with('/') {
            return Err(Errno::NotCapable);
        }
        let mut trail = vec![base];
        let mut names = path.split('/').filter(|name| !name.is_empty() && *name != ".").peekable();
        let _ = self.folder(base)?;
        while let Some(name) = names.next() {
            let here = *trail.last().unwrap_or(&base);
            if name.len() > NAME_BYTES_MAX {
                return Err(Errno::NameTooLong);
            }
            if name == ".." {
                trail.pop();
                if trail.is_empty() {
                    return Err(Errno::NotCapable);
                }
                continue;
            }
            if names.peek().is_none() {
                return Ok((here, Some(name.to_owned())));
            }
            let next = *self.folder(here)?.get(name).ok_or(Errno::NoEnt)?;
            let _ = self.folder(next)?;
            trail.push(next);
        }
        Ok((*trail.last().unwrap_or(&base), None))
    }

    /// What a path leads to.
    pub(super) fn find(&self, base: u64, path: &str) -> Result<u64, Errno> {
        match self.place(base, path)? {
            (folder, Some(name)) => self.folder(folder)?.get(&name).copied().ok_or(Errno::NoEnt),
            (folder, None) => Ok(folder),
        }
    }

    /// Whether a folder names it. In one that none names nothing can be made: it would be lost with
    /// the last descriptor.
    fn is_linked(&self, inode: u64) -> bool {
        self.entries.get(&inode).is_some_and(|entry| entry.linked)
    }

    /// Makes a new file or folder.
    pub(super) fn make(
        &mut self,
        folder: u64,
        name: &str,
        is_folder: bool,
        at: u64,
    ) -> Result<u64, Errno> {
        if self.folder(folder)?.contains_key(name) {
            return Err(Errno::Exist);
        }
        if !self.is_linked(folder) {
            return Err(Errno::NoEnt);
        }
        if self.entries.len() >= FILES_MAX {
            return Err(Errno::NoSpc);
        }
        let inode = self.next;
        self.next += 1;
        let node = if is_folder {
            Node::Folder { parent: folder, entries: BTreeMap::new() }
        } else {
            Node::File(Vec::new())
        };
        self.entries.insert(inode, Entry { node, linked: true, open: 0, changed: at });
        self.folder_mut(folder)?.insert(name.to_owned(), inode);
        self.touch(folder, at);
        Ok(inode)
    }

    /// Takes a name away; what it named goes once nobody has it open.
    pub(super) fn unlink(
        &mut self,
        base: u64,
        path: &str,
        is_folder: bool,
        at: u64,
    ) -> Result<(), Errno> {
        let (folder, name) = self.place(base, path)?;
        let name = name.ok_or(Errno::Inval)?;
        let inode = *self.folder(folder)?.get(&name).ok_or(Errno::NoEnt)?;
        match (self.node(inode)?, is_folder) {
            (Node::File(_), true) => return Err(Errno::NotDir),
            (Node::Folder { .. }, false) => return Err(Errno::IsDir),
            (Node::Folder { entries, .. }, true) if !entries.is_empty() => {
                return Err(Errno::NotEmpty);
            }
            (Node::File(_), false) | (Node::Folder { .. }, true) => {}
        }
        self.folder_mut(folder)?.remove(&name);
        self.touch(folder, at);
        self.unlinked(inode);
        Ok(())
    }

    fn unlinked(&mut self, inode: u64) {
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.linked = false;
            if entry.open == 0 {
                self.entries.remove(&inode);
            }
        }
    }

    /// Gives what one path names another name; what had that name goes.
    pub(super) fn rename(
        &mut self,
        (base, path): (u64, &str),
        (new_base, new_path): (u64, &str),
        at: u64,
    ) -> Result<(), Errno> {
        let (folder, name) = self.place(base, path)?;
        let (new_folder, new_name) = self.place(new_base, new_path)?;
        let (name, new_name) = (name.ok_or(Errno::Inval)?, new_name.ok_or(Errno::Inval)?);
        let inode = *self.folder(folder)?.get(&name).ok_or(Errno::NoEnt)?;
        let is_folder = matches!(self.node(inode)?, Node::Folder { .. });
        if !self.is_linked(new_folder) {
            return Err(Errno::NoEnt);
        }
        if is_folder && self.is_within(new_folder, inode) {
            return Err(Errno::Inval);
        }
        if let Some(&there) = self.folder(new_folder)?.get(&new_name) {
            if there == inode {
                return Ok(());
            }
            self.unlink(new_base, new_path, is_folder, at)?;
        }
        self.folder_mut(folder)?.remove(&name);
        self.folder_mut(new_folder)?.insert(new_name, inode);
        if let Some(Entry { node: Node::Folder { parent, .. }, .. }) = self.entries.get_mut(&inode)
        {
            *parent = new_folder;
        }
        self.touch(folder, at);
        self.touch(new_folder, at);
        Ok(())
    }

    /// Whether a folder is another one or in it.
    fn is_within(&self, folder: u64, other: u64) -> bool {
        let mut at = folder;
        while at != ROOT {
            if at == other {
                return true;
            }
            let Ok(Node::Folder { parent, .. }) = self.node(at) else { return false };
            at = *parent;
        }
        other == ROOT
    }

    /// A descriptor has it open from here on.
    pub(super) fn opened(&mut self, inode: u64) {
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.open += 1;
        }
    }

    /// A descriptor has it open no more.
    pub(super) fn closed(&mut self, inode: u64) {
        if let Some(entry) = self.entries.get_mut(&inode) {
            entry.open = entry.open.saturating_sub(1);
            if entry.open == 0 && !entry.linked {
                self.entries.remove(&inode);
            }
        }
    }

    /// What the next inode is called.
    pub(super) const fn inodes(&self) -> u64 {
        self.next
    }

    /// Whether it can have come about: what came from elsewhere is held against this.
    pub(super) fn is_sound(&self, open: &BTreeMap<u64, u32>) -> bool {
        let root = matches!(self.entries.get(&ROOT), Some(Entry { node: Node::Folder { .. }, .. }));
        let bounded = self.entries.len() <= FILES_MAX
            && self.bytes() <= self.bytes_max
            && self.entries.keys().all(|inode| (ROOT..self.next).contains(inode));
        // Each is named once, by a folder that is there, or is open alone.
        let mut named = BTreeMap::new();
        for (folder, entry) in &self.entries {
            let Node::Folder { entries, .. } = &entry.node else { continue };
            for (name, inode) in entries {
                let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('/');
                if !fits || named.insert(*inode, *folder).is_some() {
                    return false;
                }
            }
        }
        let each = |(inode, entry): (&u64, &Entry)| {
            let opened = open.get(inode).copied().unwrap_or(0);
            let parent_fits = match &entry.node {
                Node::Folder { parent, .. } if entry.linked => {
                    *inode == ROOT || named.get(inode) == Some(parent)
                }
                Node::Folder { .. } | Node::File(_) => true,
            };
            let linked = *inode == ROOT || named.contains_key(inode);
            entry.open == opened
                && entry.linked == linked
                && (linked || opened > 0)
                && parent_fits
                && !(linked && self.is_lost(*inode, &named))
        };
        root && bounded
            && named.keys().all(|inode| self.entries.contains_key(inode))
            && open.keys().all(|inode| self.entries.contains_key(inode))
            && self.entries.iter().all(each)
    }

    /// Whether no way up from it leads to the root: folders in a circle, or below one that was taken
    /// away.
    fn is_lost(&self, inode: u64, named: &BTreeMap<u64, u64>) -> bool {
        let mut at = inode;
        for _ in 0..=self.entries.len() {
            if at == ROOT {
                return false;
            }
            let Some(folder) = named.get(&at) else { return true };
            at = *folder;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_beyond_all_numbers_finds_no_room() {
        let mut files = Files::new(16);
        let first = files.make(ROOT, "first", false, 0).unwrap();
        files.write(first, 0, b"a", 0).unwrap();
        let second = files.make(ROOT, "second", false, 0).unwrap();
        assert_eq!(files.resize(second, u64::MAX, 0), Err(Errno::NoSpc));
        assert_eq!(files.write(second, u64::MAX - 1, b"b", 0), Err(Errno::NoSpc));
    }

    #[test]
    fn nothing_is_made_in_a_folder_that_was_taken_away() {
        let mut files = Files::new(16);
        let folder = files.make(ROOT, "folder", true, 0).unwrap();
        files.make(ROOT, "file", false, 0).unwrap();
        files.opened(folder);
        files.unlink(ROOT, "folder", true, 0).unwrap();
        assert_eq!(files.make(folder, "file", false, 0), Err(Errno::NoEnt));
        assert_eq!(files.rename((ROOT, "file"), (folder, "file"), 0), Err(Errno::NoEnt));
        assert!(files.is_sound(&BTreeMap::from([(folder, 1)])));
        files.closed(folder);
        assert!(files.is_sound(&BTreeMap::new()));
    }
}
