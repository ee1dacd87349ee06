//! An interpreter in a loop: a large match, and calls through a table of functions.

const CODE: [u8; 12] = [0, 1, 2, 3, 4, 5, 1, 3, 2, 5, 4, 6];

fn double(it: u32) -> u32 {
    it.wrapping_mul(2)
}

fn turn(it: u32) -> u32 {
    it.rotate_left(7)
}

fn flip(it: u32) -> u32 {
    !it
}

/// What is in the register after this many rounds.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let functions: [fn(u32) -> u32; 3] = [double, turn, flip];
    let (mut register, mut stack) = (1_u32, vec![0_u32; 16]);
    for round in 0..n as usize {
        let mut at = 0;
        loop {
            match CODE[at] {
                0 => register = register.wrapping_add(round as u32),
                1 => register ^= register << 13,
                2 => register ^= register >> 17,
                3 => register ^= register << 5,
                4 => stack[round & 15] = register,
                5 => register = functions[(register % 3) as usize](register),
                _ => break,
            }
            at += 1;
        }
    }
    i64::from(register) << 32 | i64::from(stack[3])
}
