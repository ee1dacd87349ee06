//! Decides from where a node takes its memory: from one heap for all threads, if its C library is glibc.
//!
//! glibc gives threads heaps of their own, and what is freed in one serves no other. A daemon is
//! built on one thread, changed on a second and dropped on a third; so a node to which a large
//! daemon comes back would hold its memory twice. How many heaps there are is read from the
//! environment before `main`: the process starts its program anew, once, and stays the same process.

/// The variable by which glibc is told how many heaps there may be. Whoever sets it is obeyed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: &str = "MALLOC_ARENA_MAX";

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
    // On success this does not return; after an error the node merely takes more memory.
    drop(anew.args(words).env(HEAPS_MAX, "1").exec());
}

/// Other C libraries are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn settle() {}
