//! Decides from where a node takes its memory: from one heap for all threads, if its C library is glibc,
//! and what is large from the system itself.
//!
//! glibc gives threads heaps of their own, and what is freed in one serves no other. A daemon is
//! built on one thread, changed on a second and dropped on a third; so a node to which a large
//! daemon comes back would hold its memory twice. And what is freed inside a heap goes back to the
//! system only if nothing lies behind it: pieces of a state that pass through leave holes. Both is
//! read from the environment before `main`: the process starts its program anew, once, and stays the
//! same process.

/// The variable by which glibc is told how many heaps there may be. Whoever sets it is obeyed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: &str = "MALLOC_ARENA_MAX";

/// The variable by which glibc is told everything else about its heaps. Whoever sets it is obeyed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str = "GLIBC_TUNABLES";

/// What is at least 16 KiB large lies outside of the heap, and its memory goes back when it is freed.
/// That is a mapping each, of which Linux allows a process 65,530: beyond half of them the heap serves.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: &str = "glibc.malloc.mmap_threshold=16384:glibc.malloc.mmap_max=32768";

/// Starts the program anew with one heap; goes on where it has one, or where that cannot be done.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn settle() {
    use std::os::unix::process::CommandExt;

    if std::env::var_os(HEAPS_MAX).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut words = std::env::args_os();
    let mut anew = std::process::Command::new(program);
    if let Some(name) = words.next() {
        anew.arg0(name);
    }
    if std::env::var_os(TUNABLES).is_none() {
        anew.env(TUNABLES, LARGE);
    }
    // On success this does not return; after an error the node merely takes more memory.
    drop(anew.args(words).env(HEAPS_MAX, "1").exec());
}

/// Other C libraries are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn settle() {}
