//! Recursion that does nothing else.

#[inline(never)]
fn fib(n: u32) -> u32 {
    if n < 2 { n } else { fib(n - 1).wrapping_add(fib(n - 2)) }
}

/// The number of this place in the sequence.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    i64::from(fib(n as u32))
}
