//! Arguments, environment and randomness.

use super::calls::{Call, End, Ended};
use super::errno::Errno;
use super::state::Wasi;

fn sizes(words: &[Vec<u8>], call: &mut Call<'_>) -> Ended {
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    let (count, size) = (call.u32(0), call.u32(1));
    call.memory.put_u32(count, words.len() as u32)?;
    call.memory.put_u32(size, bytes as u32)?;
    Ok(End::Ok)
}

fn get(words: &[Vec<u8>], call: &mut Call<'_>) -> Ended {
    let (mut pointer, mut at) = (call.u32(0), call.u32(1));
    for word in words {
        call.memory.put_u32(pointer, at)?;
        call.memory.put(at, word)?;
        let end = at.checked_add(word.len() as u32).ok_or(Errno::Fault)?;
        call.memory.put(end, &[0])?;
        (pointer, at) = (pointer + 4, end + 1);
    }
    Ok(End::Ok)
}

pub(super) fn args_sizes_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    sizes(&wasi.args, call)
}

pub(super) fn args_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    get(&wasi.args, call)
}

pub(super) fn environ_sizes_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    sizes(&wasi.env, call)
}

pub(super) fn environ_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    get(&wasi.env, call)
}

pub(super) fn random_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (at, length) = (call.u32(0), call.u32(1));
    let seed = wasi.seed.unwrap_or_default();
    let mut stream = blake3::Hasher::new_keyed(&seed).finalize_xof();
    stream.set_position(wasi.drawn);
    stream.fill(call.memory.bytes_mut(at, length)?);
    wasi.drawn += u64::from(length);
    Ok(End::Ok)
}

pub(super) fn not_supported(_: &mut Wasi, _: &mut Call<'_>) -> Ended {
    Err(Errno::NotSup)
}
