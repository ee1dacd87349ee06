//! What is done with what is open.

use super::calls::{Call, End, Ended, Wait};
use super::errno::Errno;
use super::files::Node;
use super::memory::total;
use super::state::{Descriptor, NUMBER_MAX, Open, STREAM_BYTES_MAX, Wasi, right};

const APPEND: u16 = 1;
const NONBLOCK: u16 = 4;

/// The kinds of files, as WASI numbers them.
const CHARACTER_DEVICE: u8 = 2;
const FOLDER: u8 = 3;
const FILE: u8 = 4;

/// Bits of what times are to be set.
const TO_GIVEN: u32 = 1 << 2;
const TO_NOW: u32 = 1 << 3;

/// The name under which the root was given.
const ROOT_NAME: &[u8] = b"/";

fn find(wasi: &Wasi, number: u32) -> Result<&Descriptor, Errno> {
    wasi.descriptors.get(&number).ok_or(Errno::BadF)
}

/// The file that is open, if the descriptor has these rights.
fn file(wasi: &Wasi, number: u32, rights: u64) -> Result<(u64, u64, bool), Errno> {
    let descriptor = find(wasi, number)?;
    if descriptor.rights & rights != rights {
        return Err(Errno::NotCapable);
    }
    match descriptor.open {
        Open::File { inode, offset, append } => Ok((inode, offset, append)),
        Open::Folder { .. } => Err(Errno::IsDir),
        Open::Stdin | Open::Stdout | Open::Stderr => Err(Errno::SPipe),
    }
}

fn seek_to(wasi: &mut Wasi, number: u32, to: u64) {
    if let Some(Descriptor { open: Open::File { offset, .. }, .. }) =
        wasi.descriptors.get_mut(&number)
    {
        *offset = to;
    }
}

pub(super) fn fd_advise(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    file(wasi, call.u32(0), 0).map(|_| End::Ok)
}

pub(super) fn fd_sync(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    find(wasi, call.u32(0)).map(|_| End::Ok)
}

pub(super) fn fd_allocate(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (inode, ..) = file(wasi, call.u32(0), right::WRITE)?;
    let end = call.u64(1).checked_add(call.u64(2)).ok_or(Errno::Inval)?;
    if end > wasi.files.file(inode)?.len() as u64 {
        wasi.files.resize(inode, end, call.now)?;
    }
    Ok(End::Ok)
}

pub(super) fn fd_close(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    wasi.close(call.u32(0)).map(|()| End::Ok)
}

pub(super) fn fd_fdstat_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let descriptor = find(wasi, call.u32(0))?;
    let (kind, append) = match descriptor.open {
        Open::Stdin | Open::Stdout | Open::Stderr => (CHARACTER_DEVICE, false),
        Open::File { append, .. } => (FILE, append),
        Open::Folder { .. } => (FOLDER, false),
    };
    let mut rights = descriptor.rights;
    if kind == CHARACTER_DEVICE {
        // A character device that cannot be sought in is taken for a terminal.
        rights &= !(right::SEEK | 1 << 5);
    }
    let nonblocking = if descriptor.nonblocking { NONBLOCK } else { 0 };
    let flags = if append { APPEND } else { 0 } | nonblocking;
    let mut stat = [0; 24];
    stat[0] = kind;
    stat[2..4].copy_from_slice(&flags.to_le_bytes());
    stat[8..16].copy_from_slice(&rights.to_le_bytes());
    stat[16..24].copy_from_slice(&descriptor.inherited.to_le_bytes());
    let at = call.u32(1);
    call.memory.put(at, &stat)?;
    Ok(End::Ok)
}

pub(super) fn fd_fdstat_set_flags(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let flags = call.u32(1) as u16;
    let descriptor = wasi.descriptors.get_mut(&call.u32(0)).ok_or(Errno::BadF)?;
    descriptor.nonblocking = flags & NONBLOCK != 0;
    if let Open::File { append, .. } = &mut descriptor.open {
        *append = flags & APPEND != 0;
    }
    Ok(End::Ok)
}

pub(super) fn fd_fdstat_set_rights(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (rights, inherited) = (call.u64(1), call.u64(2));
    let descriptor = wasi.descriptors.get_mut(&call.u32(0)).ok_or(Errno::BadF)?;
    if rights & !descriptor.rights != 0 || inherited & !descriptor.inherited != 0 {
        return Err(Errno::NotCapable);
    }
    (descriptor.rights, descriptor.inherited) = (rights, inherited);
    Ok(End::Ok)
}

/// What is known of a file, as WASI writes it.
pub(super) fn stat_of(wasi: &Wasi, inode: u64) -> Result<[u8; 64], Errno> {
    let (kind, size) = match wasi.files.node(inode)? {
        Node::File(bytes) => (FILE, bytes.len() as u64),
        Node::Folder { .. } => (FOLDER, 0),
    };
    let changed = wasi.files.changed(inode).to_le_bytes();
    let mut stat = [0; 64];
    stat[8..16].copy_from_slice(&inode.to_le_bytes());
    stat[16] = kind;
    stat[24..32].copy_from_slice(&1_u64.to_le_bytes());
    stat[32..40].copy_from_slice(&size.to_le_bytes());
    for at in [40, 48, 56] {
        stat[at..at + 8].copy_from_slice(&changed);
    }
    Ok(stat)
}

pub(super) fn fd_filestat_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let stat = match find(wasi, call.u32(0))?.open {
        Open::Stdin | Open::Stdout | Open::Stderr => {
            let mut stat = [0; 64];
            stat[16] = CHARACTER_DEVICE;
            stat
        }
        Open::File { inode, .. } | Open::Folder { inode, .. } => stat_of(wasi, inode)?,
    };
    let at = call.u32(1);
    call.memory.put(at, &stat)?;
    Ok(End::Ok)
}

pub(super) fn fd_filestat_set_size(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (inode, ..) = file(wasi, call.u32(0), right::WRITE)?;
    wasi.files.resize(inode, call.u64(1), call.now)?;
    Ok(End::Ok)
}

/// When a file was changed, of what it is to be set to.
pub(super) fn set_changed(wasi: &mut Wasi, inode: u64, call: &Call<'_>, (at, flags): (u64, u32)) {
    if flags & TO_NOW != 0 {
        wasi.files.touch(inode, call.now);
    } else if flags & TO_GIVEN != 0 {
        wasi.files.touch(inode, at);
    }
}

pub(super) fn fd_filestat_set_times(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    match find(wasi, call.u32(0))?.open {
        Open::File { inode, .. } | Open::Folder { inode, .. } => {
            set_changed(wasi, inode, call, (call.u64(2), call.u32(3)));
            Ok(End::Ok)
        }
        Open::Stdin | Open::Stdout | Open::Stderr => Err(Errno::Inval),
    }
}

fn read_at(
    wasi: &Wasi,
    call: &mut Call<'_>,
    (inode, offset): (u64, u64),
    result: u32,
) -> Result<u32, Errno> {
    let pieces = call.pieces(1)?;
    let _ = total(&pieces)?;
    let _ = call.memory.bytes(result, 4)?;
    let bytes = wasi.files.file(inode)?;
    let rest = bytes.get(offset.min(bytes.len() as u64) as usize..).unwrap_or(&[]);
    let count = call.memory.scatter(&pieces, rest)?;
    call.memory.put_u32(result, count)?;
    Ok(count)
}

pub(super) fn fd_read(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (number, result) = (call.u32(0), call.u32(3));
    if find(wasi, number)?.open == Open::Stdin {
        return read_input(wasi, call, result);
    }
    let (inode, offset, _) = file(wasi, number, right::READ)?;
    let count = read_at(wasi, call, (inode, offset), result)?;
    seek_to(wasi, number, offset + u64::from(count));
    Ok(End::Ok)
}

fn read_input(wasi: &mut Wasi, call: &mut Call<'_>, result: u32) -> Ended {
    let pieces = call.pieces(1)?;
    let wanted = total(&pieces)?;
    let _ = call.memory.bytes(result, 4)?;
    if wasi.stdin.bytes.is_empty() && !wasi.stdin.ended && wanted > 0 {
        if find(wasi, call.u32(0))?.nonblocking {
            // As a terminal that has nothing: again later.
            return call.memory.put_u32(result, 0).map(|()| End::Ok);
        }
        return Ok(End::Wait(Wait { input: true, ..Wait::default() }, Vec::new()));
    }
    let count = call.memory.scatter(&pieces, &wasi.stdin.bytes)?;
    wasi.stdin.forget_before(wasi.stdin.first + u64::from(count));
    call.memory.put_u32(result, count)?;
    Ok(End::Ok)
}

pub(super) fn fd_pread(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (inode, ..) = file(wasi, call.u32(0), right::READ)?;
    let (offset, result) = (call.u64(3), call.u32(4));
    read_at(wasi, call, (inode, offset), result).map(|_| End::Ok)
}

fn write_at(
    wasi: &mut Wasi,
    call: &mut Call<'_>,
    (inode, offset): (u64, u64),
    result: u32,
) -> Result<u32, Errno> {
    let pieces = call.pieces(1)?;
    let length = total(&pieces)?;
    let _ = call.memory.bytes(result, 4)?;
    // Pieces may name the same bytes again and again: what finds no room is not put together.
    if u64::from(length) > wasi.files.bytes_max() {
        return Err(Errno::NoSpc);
    }
    let bytes = call.memory.gather(&pieces, length as usize)?;
    wasi.files.write(inode, offset, &bytes, call.now)?;
    call.memory.put_u32(result, length)?;
    Ok(length)
}

pub(super) fn fd_write(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (number, result) = (call.u32(0), call.u32(3));
    let descriptor = find(wasi, number)?;
    if let Open::Stdout | Open::Stderr = descriptor.open {
        let is_error = descriptor.open == Open::Stderr;
        return write_output(wasi, call, is_error, result);
    }
    let (inode, offset, append) = file(wasi, number, right::WRITE)?;
    let offset = if append { wasi.files.file(inode)?.len() as u64 } else { offset };
    let count = write_at(wasi, call, (inode, offset), result)?;
    seek_to(wasi, number, offset + u64::from(count));
    Ok(End::Ok)
}

fn write_output(wasi: &mut Wasi, call: &mut Call<'_>, is_error: bool, result: u32) -> Ended {
    let pieces = call.pieces(1)?;
    let _ = total(&pieces)?;
    let _ = call.memory.bytes(result, 4)?;
    let bytes = call.memory.gather(&pieces, STREAM_BYTES_MAX)?;
    let count = wasi.emit(is_error, &bytes);
    if count == 0 && !bytes.is_empty() {
        return Ok(End::Wait(Wait { room: true, ..Wait::default() }, Vec::new()));
    }
    call.memory.put_u32(result, count as u32)?;
    Ok(End::Ok)
}

pub(super) fn fd_pwrite(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (inode, ..) = file(wasi, call.u32(0), right::WRITE)?;
    let (offset, result) = (call.u64(3), call.u32(4));
    write_at(wasi, call, (inode, offset), result).map(|_| End::Ok)
}

/// The folder that was given under this number.
fn given(wasi: &Wasi, number: u32) -> Result<(), Errno> {
    match find(wasi, number)?.open {
        Open::Folder { is_given: true, .. } => Ok(()),
        Open::Folder { .. } | Open::File { .. } | Open::Stdin | Open::Stdout | Open::Stderr => {
            Err(Errno::BadF)
        }
    }
}

pub(super) fn fd_prestat_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    given(wasi, call.u32(0))?;
    let at = call.u32(1);
    call.memory.put_u32(at, 0)?;
    call.memory.put_u32(at.checked_add(4).ok_or(Errno::Fault)?, ROOT_NAME.len() as u32)?;
    Ok(End::Ok)
}

pub(super) fn fd_prestat_dir_name(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    given(wasi, call.u32(0))?;
    if (call.u32(2) as usize) < ROOT_NAME.len() {
        return Err(Errno::NameTooLong);
    }
    let at = call.u32(1);
    call.memory.put(at, ROOT_NAME)?;
    Ok(End::Ok)
}

pub(super) fn fd_readdir(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let Open::Folder { inode, .. } = find(wasi, call.u32(0))?.open else {
        return Err(Errno::NotDir);
    };
    let (at, length, cookie, result) = (call.u32(1), call.u32(2), call.u64(3), call.u32(4));
    let _ = call.memory.bytes(at, length)?;
    let here = [(".".to_owned(), inode), ("..".to_owned(), inode)];
    let all = here.into_iter().chain(wasi.files.folder(inode)?.clone());
    let mut bytes = Vec::new();
    for (index, (name, inode)) in all.enumerate().skip(cookie as usize) {
        if bytes.len() >= length as usize {
            break;
        }
        let is_folder = matches!(wasi.files.node(inode), Ok(Node::Folder { .. }));
        bytes.extend_from_slice(&(index as u64 + 1).to_le_bytes());
        bytes.extend_from_slice(&inode.to_le_bytes());
        bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[if is_folder { FOLDER } else { FILE }, 0, 0, 0]);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.truncate(length as usize);
    call.memory.put(at, &bytes)?;
    call.memory.put_u32(result, bytes.len() as u32)?;
    Ok(End::Ok)
}

pub(super) fn fd_renumber(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (from, to) = (call.u32(0), call.u32(1));
    let _ = find(wasi, from)?;
    let _ = find(wasi, to)?;
    if from != to {
        wasi.close(to)?;
        let descriptor = wasi.descriptors.remove(&from).ok_or(Errno::BadF)?;
        wasi.descriptors.insert(to, descriptor);
    }
    Ok(End::Ok)
}

pub(super) fn fd_seek(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (number, by, whence, result) = (call.u32(0), call.u64(1), call.u32(2), call.u32(3));
    let (inode, offset, _) = file(wasi, number, right::SEEK)?;
    let from = match whence {
        0 => 0,
        1 => offset,
        2 => wasi.files.file(inode)?.len() as u64,
        _ => return Err(Errno::Inval),
    };
    let to = from.checked_add_signed(by as i64).filter(|to| *to <= NUMBER_MAX);
    let to = to.ok_or(Errno::Inval)?;
    call.memory.put_u64(result, to)?;
    seek_to(wasi, number, to);
    Ok(End::Ok)
}

pub(super) fn fd_tell(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (_, offset, _) = file(wasi, call.u32(0), 0)?;
    let at = call.u32(1);
    call.memory.put_u64(at, offset)?;
    Ok(End::Ok)
}
