//! Decides how frames lie in a stream: a length of four bytes, little endian, then so many bytes.
//!
//! What is in a frame is nobody's business here. A length beyond the lane's limit is refused before
//! anything is set aside for it.
//!
//! # Limits
//!
//! * `COPY_BYTES_MAX = 4 KiB`: frames up to this are copied next to their neighbours, so that a burst
//!   of small frames costs one write; a longer frame is passed on as it is.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const LENGTH_BYTES: usize = 4;
const COPY_BYTES_MAX: usize = 4 * 1024;

/// A peer announced a frame that is longer than the lane allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::link) struct FrameTooLong {
    pub(in crate::link) announced: u32,
}

/// Lays `frames` out as chunks for one write, emptying `frames`. `chunks` must be empty.
pub(in crate::link) fn encode(frames: &mut Vec<Bytes>, chunks: &mut Vec<Bytes>) {
    let copied: usize = frames
        .iter()
        .map(|frame| LENGTH_BYTES + if frame.len() <= COPY_BYTES_MAX { frame.len() } else { 0 })
        .sum();
    let mut buffer = BytesMut::with_capacity(copied);
    for frame in frames.drain(..) {
        // A queue takes no frame beyond its lane's limit, which is itself a `u32`.
        buffer.put_u32_le(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        if frame.len() <= COPY_BYTES_MAX {
            buffer.extend_from_slice(&frame);
        } else {
            chunks.push(buffer.split().freeze());
            chunks.push(frame);
        }
    }
    if !buffer.is_empty() {
        chunks.push(buffer.freeze());
    }
}

/// Puts frames together from the pieces a stream comes in.
///
/// Every frame is a buffer of its own: a slice of what the socket delivered would be cheaper to make
/// but would keep a whole receive buffer alive for as long as somebody holds a small frame.
#[derive(Debug)]
pub(in crate::link) struct Decoder {
    bytes_max: u32,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Length { bytes: [u8; LENGTH_BYTES], filled: usize },
    Body { body: BytesMut, length: usize },
}

const LENGTH_START: Reading = Reading::Length { bytes: [0; LENGTH_BYTES], filled: 0 };

impl Decoder {
    pub(in crate::link) const fn new(bytes_max: u32) -> Self {
        Self { bytes_max, reading: LENGTH_START }
    }

    /// Takes from the front of `piece` until a frame is whole or `piece` is empty.
    pub(in crate::link) fn next(
        &mut self,
        piece: &mut Bytes,
    ) -> Result<Option<Bytes>, FrameTooLong> {
        if let Reading::Length { bytes, filled } = &mut self.reading {
            let taken = piece.len().min(LENGTH_BYTES - *filled);
            piece.copy_to_slice(&mut bytes[*filled..*filled + taken]);
            *filled += taken;
            if *filled < LENGTH_BYTES {
                return Ok(None);
            }
            let announced = u32::from_le_bytes(*bytes);
            if announced > self.bytes_max {
                return Err(FrameTooLong { announced });
            }
            let length = announced as usize;
            self.reading = Reading::Body { body: BytesMut::with_capacity(length), length };
        }
        let Reading::Body { body, length } = &mut self.reading else { return Ok(None) };
        let taken = piece.len().min(*length - body.len());
        body.extend_from_slice(&piece[..taken]);
        piece.advance(taken);
        if body.len() < *length {
            return Ok(None);
        }
        let frame = std::mem::take(body).freeze();
        self.reading = LENGTH_START;
        Ok(Some(frame))
    }

    /// Whether the stream may end here: no frame has begun.
    pub(in crate::link) const fn is_between_frames(&self) -> bool {
        matches!(self.reading, Reading::Length { filled: 0, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(frames: &[Bytes]) -> Bytes {
        let mut chunks = Vec::new();
        encode(&mut frames.to_vec(), &mut chunks);
        chunks.concat().into()
    }

    fn decoded(decoder: &mut Decoder, pieces: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
        let mut frames = Vec::new();
        for mut piece in pieces {
            while let Some(frame) = decoder.next(&mut piece).unwrap() {
                frames.push(frame);
            }
            assert!(piece.is_empty());
        }
        frames
    }

    fn some_frames() -> Vec<Bytes> {
        [0, 1, 7, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 9000, 0]
            .iter()
            .enumerate()
            .map(|(number, &length)| Bytes::from(vec![number as u8; length]))
            .collect()
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames = some_frames();
        let stream = encoded(&frames);
        for cut in [1, 2, 3, 5, 1200, stream.len()] {
            let mut decoder = Decoder::new(10_000);
            let pieces = stream.chunks(cut).map(Bytes::copy_from_slice);
            assert_eq!(decoded(&mut decoder, pieces), frames, "cut every {cut} bytes");
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_body() {
        let mut decoder = Decoder::new(100);
        let mut piece = Bytes::copy_from_slice(&101u32.to_le_bytes());
        assert_eq!(decoder.next(&mut piece), Err(FrameTooLong { announced: 101 }));
    }

    #[test]
    fn a_stream_that_stops_inside_a_frame_is_not_between_frames() {
        let stream = encoded(&[Bytes::from_static(b"frame")]);
        for end in 1..stream.len() {
            let mut decoder = Decoder::new(100);
            assert_eq!(decoded(&mut decoder, [stream.slice(..end)]), Vec::<Bytes>::new());
            assert!(!decoder.is_between_frames(), "after {end} bytes");
        }
    }

    #[test]
    fn long_frames_are_passed_on_without_a_copy() {
        let long = Bytes::from(vec![1; COPY_BYTES_MAX + 1]);
        let mut chunks = Vec::new();
        encode(&mut vec![Bytes::from_static(b"a"), long.clone()], &mut chunks);
        assert_eq!(chunks.len(), 2);
        assert_eq!(chunks[1].as_ptr(), long.as_ptr());
    }
}
