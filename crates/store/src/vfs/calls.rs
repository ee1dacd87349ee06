//! Decides how SQLite's calls become calls on an [`Image`], and no more than that.
//!
//! What SQLite promises and this module relies on: the VFS pointer of a call is one that was
//! registered; a file pointer is to `szOsFile` bytes, aligned for any type, that `xOpen` was given
//! first and `xClose` is given last; buffers are as long as the call says; paths end in a zero.

#![allow(unsafe_code, reason = "a VFS is a table of C functions over memory that SQLite owns")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::ffi;

use super::image::{Fault, Image, Key, SECTOR_BYTES};
use crate::error::StoreError;

/// One registered VFS. It lives as long as the process.
#[derive(Debug)]
pub(super) struct Slot {
    name: String,
    image: Mutex<Image>,
}

/// An open file, in memory that SQLite gave.
#[repr(C)]
struct Handle {
    /// First, because SQLite looks here for the methods.
    base: ffi::sqlite3_file,
    slot: &'static Slot,
    key: Key,
    /// Removed when it is closed.
    temporary: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

impl Slot {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes SQLite know one more VFS.
pub(super) fn register() -> Result<&'static Slot, StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("whimbrel-faulty-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let text = CString::new(name.clone())
        .map_err(|_| StoreError::Failed("a name with a zero in it".to_owned()))?;
    let slot: &'static Slot = Box::leak(Box::new(Slot { name, image: Mutex::default() }));
    let vfs = Box::leak(Box::new(ffi::sqlite3_vfs {
        iVersion: 1,
        szOsFile: size_of::<Handle>() as c_int,
        mxPathname: 1024,
        pNext: ptr::null_mut(),
        zName: text.into_raw(),
        pAppData: ptr::from_ref(slot).cast_mut().cast(),
        xOpen: Some(open),
        xDelete: Some(delete),
        xAccess: Some(access),
        xFullPathname: Some(full_pathname),
        xDlOpen: None,
        xDlError: None,
        xDlSym: None,
        xDlClose: None,
        xRandomness: Some(randomness),
        xSleep: Some(sleep),
        xCurrentTime: Some(current_time),
        xGetLastError: Some(last_error),
        xCurrentTimeInt64: None,
        xSetSystemCall: None,
        xGetSystemCall: None,
        xNextSystemCall: None,
    }));
    // SAFETY: `vfs` and all it points to are leaked, so they outlive every use by SQLite; nobody
    // else writes to them.
    let code = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
    if code == ffi::SQLITE_OK {
        Ok(slot)
    } else {
        Err(StoreError::Failed(format!("SQLite refuses a VFS: {code}")))
    }
}

fn code(fault: Fault) -> c_int {
    match fault {
        Fault::Dead => ffi::SQLITE_IOERR,
        Fault::Missing => ffi::SQLITE_CANTOPEN,
        Fault::Full => ffi::SQLITE_FULL,
        Fault::Sync => ffi::SQLITE_IOERR_FSYNC,
        Fault::Locked => ffi::SQLITE_BUSY,
    }
}

fn outcome(result: Result<(), Fault>) -> c_int {
    result.map_or_else(code, |()| ffi::SQLITE_OK)
}

/// The slot of a VFS.
///
/// # Safety
///
/// `vfs` was made by [`register`].
unsafe fn slot_of(vfs: *mut ffi::sqlite3_vfs) -> &'static Slot {
    // SAFETY: by the contract, `pAppData` is a leaked `Slot` that is only ever shared.
    unsafe { &*(*vfs).pAppData.cast::<Slot>() }
}

/// The handle behind a file.
///
/// # Safety
///
/// `file` was filled by [`open`] and not yet closed.
unsafe fn handle_of<'a>(file: *mut ffi::sqlite3_file) -> &'a Handle {
    // SAFETY: by the contract this is an initialised `Handle`, and SQLite makes no two calls on
    // one file at once that would write to it.
    unsafe { &*file.cast::<Handle>() }
}

/// The text of a path.
///
/// # Safety
///
/// `path` is null or ends in a zero.
unsafe fn path_of(path: *const c_char) -> Option<String> {
    if path.is_null() {
        return None;
    }
    // SAFETY: by the contract.
    Some(unsafe { CStr::from_ptr(path) }.to_string_lossy().into_owned())
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the VFS that was registered, and a path as it promises.
    let (slot, path) = unsafe { (slot_of(vfs), path_of(path)) };
    // SAFETY: `file` has room for a `Handle`, which begins with a `sqlite3_file`. Null methods
    // tell SQLite that there is nothing to close.
    unsafe { (*file).pMethods = ptr::null() };
    let temporary = path.is_none() || flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
    let path = path.unwrap_or_else(|| "temporary".to_owned());
    let create = temporary || flags & ffi::SQLITE_OPEN_CREATE != 0;
    let key = match slot.image().open(&path, create) {
        Ok(key) => key,
        Err(fault) => return code(fault),
    };
    let base = ffi::sqlite3_file { pMethods: &raw const METHODS };
    // SAFETY: `file` has room for a `Handle`, and what is there needs no drop.
    unsafe { ptr::write(file.cast::<Handle>(), Handle { base, slot, key, temporary }) };
    if !flags_out.is_null() {
        // SAFETY: not null, so it is SQLite's place for an answer.
        unsafe { *flags_out = flags };
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite closes each opened file once and does not touch it afterwards.
    let handle = unsafe { ptr::read(file.cast::<Handle>()) };
    let mut image = handle.slot.image();
    image.close(&handle.key);
    if handle.temporary {
        return image.remove(&handle.key.path, true).map_or_else(code, |()| ffi::SQLITE_OK);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR;
    };
    if length == 0 {
        return ffi::SQLITE_OK;
    }
    // SAFETY: an open file, and a buffer of `length` bytes that SQLite lends for this call.
    let (handle, out) =
        unsafe { (handle_of(file), std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)) };
    match handle.slot.image().read(&handle.key, offset, out) {
        Ok(found) if found < length => ffi::SQLITE_IOERR_SHORT_READ,
        Ok(_) => ffi::SQLITE_OK,
        Err(fault) => code(fault),
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(length), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR;
    };
    if length == 0 {
        return ffi::SQLITE_OK;
    }
    // SAFETY: an open file, and `length` bytes that SQLite lends for this call.
    let (handle, bytes) =
        unsafe { (handle_of(file), std::slice::from_raw_parts(buffer.cast::<u8>(), length)) };
    outcome(handle.slot.image().write(&handle.key, offset, bytes))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: ffi::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle_of(file) };
    let Ok(size) = usize::try_from(size) else { return ffi::SQLITE_IOERR };
    outcome(handle.slot.image().truncate(&handle.key, size))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle_of(file) };
    outcome(handle.slot.image().sync(&handle.key))
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle_of(file) };
    match handle.slot.image().length(&handle.key) {
        Ok(length) => {
            // SAFETY: SQLite's place for the answer.
            unsafe { *size = length as ffi::sqlite3_int64 };
            ffi::SQLITE_OK
        }
        Err(fault) => code(fault),
    }
}

/// Every lock is exclusive: there is one connection to a file.
unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, _level: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle_of(file) };
    outcome(handle.slot.image().lock(&handle.key))
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    let handle = unsafe { handle_of(file) };
    if level == ffi::SQLITE_LOCK_NONE {
        handle.slot.image().unlock(&handle.key);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(
    _file: *mut ffi::sqlite3_file,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite's place for the answer. A lock by another handle shows in `lock` already.
    unsafe { *answer = 0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(
    _file: *mut ffi::sqlite3_file,
    _operation: c_int,
    _argument: *mut c_void,
) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    SECTOR_BYTES as c_int
}

/// No promises: not even that a write leaves the rest of its sector alone.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    0
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    synced: c_int,
) -> c_int {
    // SAFETY: SQLite passes the VFS that was registered, and a path as it promises.
    let (slot, path) = unsafe { (slot_of(vfs), path_of(path)) };
    match slot.image().remove(&path.unwrap_or_default(), synced != 0) {
        Ok(()) => ffi::SQLITE_OK,
        Err(Fault::Missing) => ffi::SQLITE_IOERR_DELETE_NOENT,
        Err(fault) => code(fault),
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    _flags: c_int,
    answer: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the VFS that was registered, and a path as it promises.
    let (slot, path) = unsafe { (slot_of(vfs), path_of(path)) };
    let exists = slot.image().exists(&path.unwrap_or_default());
    // SAFETY: SQLite's place for the answer.
    unsafe { *answer = c_int::from(exists) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_pathname(
    _vfs: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a path as it promises.
    let bytes = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if usize::try_from(length).is_ok_and(|length| bytes.len() <= length) {
        // SAFETY: `out` has `length` bytes, which is enough, and does not overlap `path`.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr().cast(), out, bytes.len()) };
        return ffi::SQLITE_OK;
    }
    ffi::SQLITE_CANTOPEN
}

unsafe extern "C" fn randomness(
    vfs: *mut ffi::sqlite3_vfs,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    let Ok(bytes) = usize::try_from(length) else { return 0 };
    // SAFETY: SQLite passes the VFS that was registered, and room for `length` bytes.
    let (slot, out) =
        unsafe { (slot_of(vfs), std::slice::from_raw_parts_mut(out.cast::<u8>(), bytes)) };
    slot.image().fill(out);
    length
}

/// Nobody waits on a disk that has no time.
unsafe extern "C" fn sleep(_vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

/// It is always the same moment: the start of 2000, as a Julian day.
unsafe extern "C" fn current_time(_vfs: *mut ffi::sqlite3_vfs, answer: *mut f64) -> c_int {
    // SAFETY: SQLite's place for the answer.
    unsafe { *answer = 2_451_544.5 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(
    _vfs: *mut ffi::sqlite3_vfs,
    _length: c_int,
    _out: *mut c_char,
) -> c_int {
    0
}
