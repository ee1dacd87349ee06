//! Primes by a sieve of bytes: loops that only store.

/// A number made from how many primes there are below this.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let n = n as usize;
    let mut total = 0;
    for round in 0..4 {
        let mut prime = vec![1_u8; n + 1];
        prime[..2].fill(0);
        let mut at = 2;
        while at * at <= n {
            if prime[at] != 0 {
                let mut multiple = at * at;
                while multiple <= n {
                    prime[multiple] = 0;
                    multiple += at;
                }
            }
            at += 1;
        }
        total = total * 3 + prime.iter().map(|it| i64::from(*it)).sum::<i64>() + round;
    }
    total
}
