//! A chain of integer arithmetic in rounds, as in a hash function.

#[inline(never)]
fn block(state: &mut [u32; 8], words: &[u32; 16]) {
    let mut schedule = [0_u32; 64];
    schedule[..16].copy_from_slice(words);
    for at in 16..64 {
        let (early, late) = (schedule[at - 15], schedule[at - 2]);
        let first = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
        let second = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
        let sum = schedule[at - 16].wrapping_add(first);
        schedule[at] = sum.wrapping_add(schedule[at - 7]).wrapping_add(second);
    }
    let mut v = *state;
    for (at, word) in schedule.iter().enumerate() {
        let turned = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
        let chosen = (v[4] & v[5]) ^ (!v[4] & v[6]);
        let first = v[7].wrapping_add(turned).wrapping_add(chosen).wrapping_add(*word ^ at as u32);
        let turned = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
        let most = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        v.rotate_right(1);
        v[4] = v[4].wrapping_add(first);
        v[0] = first.wrapping_add(turned).wrapping_add(most);
    }
    state.iter_mut().zip(v).for_each(|(sum, it)| *sum = sum.wrapping_add(it));
}

/// What is left after this many blocks.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let mut state = [0x6a09_e667, 1, 2, 3, 4, 5, 6, 7];
    let mut words = [7_u32; 16];
    for at in 0..n {
        words[(at & 15) as usize] ^= at as u32;
        block(&mut state, &words);
    }
    i64::from(state[0]) << 32 | i64::from(state[7])
}
