//! Decides how one line is read and written: JSON up to a line feed, bounded.
//!
//! # Limits
//!
//! * [`LINE_BYTES_MAX`]: a longer line is not read to its end; the connection is of no use then.

use std::io;

use serde::Serialize;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// Longest line: the longest payload, each byte escaped, and room for the words around it.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// It is longer than allowed.
    TooLong,
    /// There is no more. A line that was begun and not ended counts as none.
    End,
}

/// The next line of at most `most` bytes.
pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin), most: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    loop {
        let piece = from.fill_buf().await?;
        if piece.is_empty() {
            return Ok(Line::End);
        }
        let end = piece.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(piece.len());
        if line.len() + taken > most {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&piece[..taken]);
        from.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(Line::Whole(line));
        }
    }
}

/// The line for these words; none if it would be too long to be read.
pub(super) fn write(words: &impl Serialize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(words).ok()?;
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    line.push(b'\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(mut bytes: &[u8], most: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            let line = read(&mut bytes, most).await.unwrap();
            let last = line == Line::End || line == Line::TooLong;
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    #[tokio::test]
    async fn lines_end_at_line_feeds_and_half_a_line_is_none() {
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(lines(b"a\n\nbc\nd", 9).await, [whole("a"), whole(""), whole("bc"), Line::End]);
    }

    #[tokio::test]
    async fn a_line_longer_than_allowed_is_not_gathered() {
        assert_eq!(lines(b"1234\n", 4).await, [Line::Whole(b"1234".to_vec()), Line::End]);
        assert_eq!(lines(b"12345\n", 4).await, [Line::TooLong]);
        assert_eq!(lines(&[b'x'; 100_000], 4).await, [Line::TooLong]);
    }

    #[test]
    fn no_line_is_written_that_nobody_would_read() {
        assert_eq!(write(&"a").unwrap(), b"\"a\"\n");
        assert_eq!(write(&"x".repeat(LINE_BYTES_MAX)), None);
    }
}
