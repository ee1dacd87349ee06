//! A compressor that others wrote: bits, tables, copies.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;

/// How small a text gets, when it is packed and unpacked this many times.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let mut length = 0;
    for round in 0..n as u32 {
        let mut random = round;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"eeetttaaooinshrdlu  "[(random >> 27) as usize % 20]
        };
        let text: Vec<u8> = (0..16_384).map(|_| next()).collect();
        let packed = compress_to_vec(&text, 6);
        if !decompress_to_vec(&packed).is_ok_and(|unpacked| unpacked == text) {
            return -1;
        }
        length += packed.len() as i64;
    }
    length
}
