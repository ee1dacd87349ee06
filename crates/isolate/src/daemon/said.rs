//! Decides what can be said to a program, and what it answers.

use serde::Serialize;
use whimbrel_wire::hex;

use crate::state::VmState;

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Status,
    Hashes,
    /// What was put out from these numbers on is wanted, and what comes before them was taken.
    Take {
        out: u64,
        err: u64,
    },
    /// How many bytes of input there were so far?
    Fed,
    /// Input that begins with the byte of this number; it may be said again.
    Feed {
        at: u64,
        bytes: &'a [u8],
    },
    Input(&'a [u8]),
    End,
    Pause,
    Resume,
}

impl<'a> Said<'a> {
    /// Reads what is said.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "a program understands ?status, ?hashes, take OUT ERR, in BYTES, feed AT BYTES, fed, end, pause and resume";
        if let Some(bytes) = payload.strip_prefix(b"in ") {
            return Ok(Self::Input(bytes));
        }
        if let Some(rest) = payload.strip_prefix(b"feed ") {
            let digits = rest.iter().position(|byte| *byte == b' ').ok_or(UNKNOWN)?;
            let at = std::str::from_utf8(&rest[..digits]).ok().and_then(|it| it.parse().ok());
            return Ok(Self::Feed { at: at.ok_or(UNKNOWN)?, bytes: &rest[digits + 1..] });
        }
        let text = std::str::from_utf8(payload).map_err(|_| UNKNOWN)?;
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words[..] {
            ["?status"] => Ok(Self::Status),
            ["?hashes"] => Ok(Self::Hashes),
            ["end"] => Ok(Self::End),
            ["fed"] => Ok(Self::Fed),
            ["pause"] => Ok(Self::Pause),
            ["resume"] => Ok(Self::Resume),
            ["take", out, err] => {
                let number = |word: &str| word.parse().map_err(|_| UNKNOWN);
                Ok(Self::Take { out: number(out)?, err: number(err)? })
            }
            _ => Err(UNKNOWN),
        }
    }
}

/// Where a program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// `ready`, `running`, `waiting`, `paused`, `exited` or `trapped`.
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    pub(super) looks: u64,
    pub(super) slices: u64,
    /// The number of the first byte of output that is kept or given, and how many there are.
    pub(super) out: [u64; 2],
    pub(super) err: [u64; 2],
}

impl Standing {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Hashes {
    state: String,
    memories: Vec<String>,
}

/// The digest of a state and those of its memories, in hexadecimal digits.
pub(super) fn hashes(vm: &VmState) -> String {
    let memories = vm.memories.iter().map(|memory| hex(&memory.root().0)).collect();
    serde_json::to_string(&Hashes { state: hex(&vm.digest().0), memories }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_or_refused() {
        assert_eq!(Said::read(b"take 7 9"), Ok(Said::Take { out: 7, err: 9 }));
        assert_eq!(Said::read(b"in \xff\n"), Ok(Said::Input(b"\xff\n")));
        assert_eq!(Said::read(b" end "), Ok(Said::End));
        assert_eq!(Said::read(b"feed 12 a b"), Ok(Said::Feed { at: 12, bytes: b"a b" }));
        for payload in [&b"take 1"[..], b"take a b", b"take -1 0", b"\xff", b"", b"in"] {
            assert!(Said::read(payload).is_err(), "{payload:?}");
        }
    }
}
