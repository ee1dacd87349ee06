//! Asks the kernel which pages were written: write protection by userfaultfd that the kernel resolves
//! itself, and `PAGEMAP_SCAN`, which tells and protects again in one step.
//!
//! Both are of Linux 6.7. Nothing is signalled and no thread waits for faults; the first write to a
//! protected page costs one fault. Structures and numbers are those of the kernel's user interface.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::state::BLOCK_BYTES;

/// Only faults of user mode: needs no privilege.
const USER_MODE_ONLY: libc::c_long = 1;

const UFFD_API: u64 = 0xaa;
/// Resolves faults without a reader, and protects pages that are not there yet.
const FEATURES: u64 = 1 << 15 | 1 << 13;
const MODE_WRITE_PROTECT: u64 = 1 << 1;
const PROTECT: u64 = 1;

const UFFDIO_API: u64 = request(0xaa, 0x3f, size_of::<Api>());
const UFFDIO_REGISTER: u64 = request(0xaa, 0x00, size_of::<Register>());
const UFFDIO_WRITEPROTECT: u64 = request(0xaa, 0x06, size_of::<WriteProtect>());
const PAGEMAP_SCAN: u64 = request(b'f' as u64, 16, size_of::<Scan>());

/// Protect what matches, and fail unless the kernel resolves faults itself.
const SCAN_FLAGS: u64 = 1 | 2;
const PAGE_IS_WRITTEN: u64 = 1 << 1;

/// How many ranges one scan gives at most; then it is asked for more.
const RANGES: usize = 512;

/// The number of a request that reads and writes a structure.
const fn request(kind: u64, number: u64, size: usize) -> u64 {
    3 << 30 | (size as u64) << 16 | kind << 8 | number
}

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct WriteProtect {
    start: u64,
    length: u64,
    mode: u64,
}

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    ranges: u64,
    ranges_length: u64,
    pages_max: u64,
    inverted: u64,
    mask: u64,
    any_of: u64,
    returned: u64,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct PageRange {
    start: u64,
    end: u64,
    categories: u64,
}

/// Memory that the kernel watches, from here until this is dropped.
#[derive(Debug)]
pub(super) struct Protected {
    /// Closing it takes the protection back.
    faults: OwnedFd,
    pagemap: File,
    start: usize,
    length: usize,
}

impl Protected {
    /// Begins to watch; `None` where the kernel does not do this.
    pub(super) fn new(start: usize, length: usize) -> Option<Self> {
        let pagemap = File::open("/proc/self/pagemap").ok()?;
        let flags = libc::c_long::from(libc::O_CLOEXEC | libc::O_NONBLOCK) | USER_MODE_ONLY;
        // SAFETY: the call takes flags only, and gives a descriptor that is nobody else's.
        #[allow(unsafe_code, reason = "the kernel is asked")]
        let faults = unsafe {
            let descriptor = libc::syscall(libc::SYS_userfaultfd, flags);
            (descriptor >= 0).then(|| OwnedFd::from_raw_fd(descriptor as i32))?
        };
        let protected = Self { faults, pagemap, start, length };
        let mut api = Api { api: UFFD_API, features: FEATURES, ioctls: 0 };
        protected.ask(UFFDIO_API, &mut api).ok()?;
        let (start, length) = (start as u64, length as u64);
        let mut register = Register { start, length, mode: MODE_WRITE_PROTECT, ioctls: 0 };
        protected.ask(UFFDIO_REGISTER, &mut register).ok()?;
        let mut protect = WriteProtect { start, length, mode: PROTECT };
        protected.ask(UFFDIO_WRITEPROTECT, &mut protect).ok()?;
        let mut protected = protected;
        // Whether scanning is there is seen by scanning.
        protected.written().is_ok().then_some(protected)
    }

    pub(super) fn covers(&self, start: usize, length: usize) -> bool {
        self.start == start && self.length == length
    }

    /// Blocks that were written since this was last asked, or since the beginning.
    pub(super) fn written(&mut self) -> io::Result<Vec<Range<u64>>> {
        let mut found = Vec::new();
        let mut ranges = [PageRange::default(); RANGES];
        let end = (self.start + self.length) as u64;
        let mut at = self.start as u64;
        while at < end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags: SCAN_FLAGS,
                start: at,
                end,
                ranges: ranges.as_mut_ptr() as u64,
                ranges_length: RANGES as u64,
                mask: PAGE_IS_WRITTEN,
                returned: PAGE_IS_WRITTEN,
                ..Scan::default()
            };
            let count = ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, &mut scan)?;
            let block = |address: u64| (address - self.start as u64) / BLOCK_BYTES as u64;
            let page = |address: u64| block(address + BLOCK_BYTES as u64 - 1);
            let kept = ranges.get(..count as usize).unwrap_or(&[]);
            found.extend(kept.iter().map(|range| block(range.start)..page(range.end)));
            if scan.walk_end <= at {
                return Err(io::Error::other("the scan does not get on"));
            }
            at = scan.walk_end;
        }
        Ok(found)
    }

    fn ask<T>(&self, request: u64, argument: &mut T) -> io::Result<u32> {
        ioctl(self.faults.as_raw_fd(), request, argument)
    }
}

fn ioctl<T>(descriptor: i32, request: u64, argument: &mut T) -> io::Result<u32> {
    // SAFETY: the structure is the one of the request; what it points to lives until the call is over,
    // and the kernel writes only ranges into it.
    #[allow(unsafe_code, reason = "the kernel is asked")]
    let answer = unsafe { libc::ioctl(descriptor, request as _, argument) };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}
