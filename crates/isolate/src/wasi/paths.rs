//! What is done with names of files.

use super::calls::{Call, End, Ended};
use super::descriptors::{set_changed, stat_of};
use super::errno::Errno;
use super::files::Node;
use super::state::{Descriptor, Open, Wasi, right};

const CREATE: u32 = 1;
const FOLDER: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;
const APPEND: u32 = 1;
const NONBLOCK: u32 = 4;

/// The folder that is open under this number.
fn folder(wasi: &Wasi, number: u32) -> Result<(u64, u64), Errno> {
    let descriptor = wasi.descriptors.get(&number).ok_or(Errno::BadF)?;
    match descriptor.open {
        Open::Folder { inode, .. } => Ok((inode, descriptor.inherited)),
        Open::File { .. } | Open::Stdin | Open::Stdout | Open::Stderr => Err(Errno::NotDir),
    }
}

pub(super) fn path_open(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, allowed) = folder(wasi, call.u32(0))?;
    let path = call.text(2)?;
    let (flags, rights, inherited) = (call.u32(4), call.u64(5), call.u64(6));
    let (modes, result) = (call.u32(7), call.u32(8));
    let _ = call.memory.bytes(result, 4)?;
    let inode = match wasi.files.find(base, &path) {
        Ok(_) if flags & CREATE != 0 && flags & EXCLUSIVE != 0 => return Err(Errno::Exist),
        Ok(inode) => inode,
        Err(Errno::NoEnt) if flags & CREATE != 0 && flags & FOLDER == 0 => {
            let (folder, name) = wasi.files.place(base, &path)?;
            if path.ends_with('/') {
                return Err(Errno::IsDir);
            }
            wasi.files.make(folder, &name.ok_or(Errno::Inval)?, false, call.now)?
        }
        Err(errno) => return Err(errno),
    };
    let rights = rights & allowed;
    let open = match wasi.files.node(inode)? {
        Node::File(_) if flags & FOLDER != 0 || path.ends_with('/') => return Err(Errno::NotDir),
        Node::File(_) => {
            if flags & TRUNCATE != 0 {
                wasi.files.resize(inode, 0, call.now)?;
            }
            Open::File { inode, offset: 0, append: modes & APPEND != 0 }
        }
        Node::Folder { .. }
            if flags & TRUNCATE != 0 || rights & right::WRITE != 0 && flags & FOLDER == 0 =>
        {
            return Err(Errno::IsDir);
        }
        Node::Folder { .. } => Open::Folder { inode, is_given: false },
    };
    let nonblocking = modes & NONBLOCK != 0;
    let number =
        wasi.open(Descriptor { open, rights, inherited: inherited & allowed, nonblocking })?;
    call.memory.put_u32(result, number)?;
    Ok(End::Ok)
}

pub(super) fn path_filestat_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    let inode = wasi.files.find(base, &call.text(2)?)?;
    let stat = stat_of(wasi, inode)?;
    let at = call.u32(4);
    call.memory.put(at, &stat)?;
    Ok(End::Ok)
}

pub(super) fn path_filestat_set_times(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    let inode = wasi.files.find(base, &call.text(2)?)?;
    set_changed(wasi, inode, call, (call.u64(5), call.u32(6)));
    Ok(End::Ok)
}

pub(super) fn path_create_directory(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    let (folder, name) = wasi.files.place(base, &call.text(1)?)?;
    let name = name.ok_or(Errno::Exist)?;
    wasi.files.make(folder, &name, true, call.now)?;
    Ok(End::Ok)
}

pub(super) fn path_remove_directory(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    wasi.files.unlink(base, &call.text(1)?, true, call.now)?;
    Ok(End::Ok)
}

pub(super) fn path_unlink_file(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    wasi.files.unlink(base, &call.text(1)?, false, call.now)?;
    Ok(End::Ok)
}

pub(super) fn path_rename(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    let (new_base, _) = folder(wasi, call.u32(3))?;
    let (path, new_path) = (call.text(1)?, call.text(4)?);
    wasi.files.rename((base, &path), (new_base, &new_path), call.now)?;
    Ok(End::Ok)
}

/// There are no links.
pub(super) fn path_link(_: &mut Wasi, _: &mut Call<'_>) -> Ended {
    Err(Errno::NotSup)
}

pub(super) fn path_readlink(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (base, _) = folder(wasi, call.u32(0))?;
    let _ = wasi.files.find(base, &call.text(1)?)?;
    Err(Errno::Inval)
}
