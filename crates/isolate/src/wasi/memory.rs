//! Reads and writes what a guest points to.

use super::errno::Errno;

/// The memory of a guest during one call.
pub(super) struct Memory<'a>(pub(super) &'a mut [u8]);

impl Memory<'_> {
    pub(super) fn bytes(&self, at: u32, length: u32) -> Result<&[u8], Errno> {
        let at = at as usize;
        self.0.get(at..at + length as usize).ok_or(Errno::Fault)
    }

    pub(super) fn bytes_mut(&mut self, at: u32, length: u32) -> Result<&mut [u8], Errno> {
        let at = at as usize;
        self.0.get_mut(at..at + length as usize).ok_or(Errno::Fault)
    }

    fn array<const N: usize>(&self, at: u32) -> Result<[u8; N], Errno> {
        self.bytes(at, N as u32)?.try_into().map_err(|_| Errno::Fault)
    }

    pub(super) fn get_u8(&self, at: u32) -> Result<u8, Errno> {
        Ok(u8::from_le_bytes(self.array(at)?))
    }

    pub(super) fn get_u16(&self, at: u32) -> Result<u16, Errno> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    pub(super) fn get_u32(&self, at: u32) -> Result<u32, Errno> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    pub(super) fn get_u64(&self, at: u32) -> Result<u64, Errno> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    pub(super) fn put(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes_mut(at, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn put_u32(&mut self, at: u32, number: u32) -> Result<(), Errno> {
        self.put(at, &number.to_le_bytes())
    }

    pub(super) fn put_u64(&mut self, at: u32, number: u64) -> Result<(), Errno> {
        self.put(at, &number.to_le_bytes())
    }

    /// The pieces that an array of pointers and lengths names.
    pub(super) fn pieces(&self, at: u32, count: u32) -> Result<Vec<(u32, u32)>, Errno> {
        // The array itself must lie in the memory, so the count is no larger than it.
        let _ = self.bytes(at, count.checked_mul(8).ok_or(Errno::Inval)?)?;
        (0..count)
            .map(|index| Ok((self.get_u32(at + index * 8)?, self.get_u32(at + index * 8 + 4)?)))
            .collect()
    }

    /// The bytes of all pieces, at most so many.
    pub(super) fn gather(&self, pieces: &[(u32, u32)], most: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::new();
        for (at, length) in pieces {
            let piece = self.bytes(*at, *length)?;
            let room = most - bytes.len();
            bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        Ok(bytes)
    }

    /// Writes bytes into the pieces, as far as they go; gives how many.
    pub(super) fn scatter(&mut self, pieces: &[(u32, u32)], bytes: &[u8]) -> Result<u32, Errno> {
        let mut rest = bytes;
        for (at, length) in pieces {
            let (now, later) = rest.split_at(rest.len().min(*length as usize));
            self.put(*at, now)?;
            rest = later;
        }
        Ok((bytes.len() - rest.len()) as u32)
    }
}

/// How many bytes the pieces have together; none if that is beyond all bounds.
pub(super) fn total(pieces: &[(u32, u32)]) -> Result<u32, Errno> {
    pieces.iter().try_fold(0_u32, |sum, (_, length)| sum.checked_add(*length)).ok_or(Errno::Inval)
}
