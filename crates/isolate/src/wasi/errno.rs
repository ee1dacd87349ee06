//! The numbers by which WASI preview 1 says that something did not work, as far as they occur here.

/// Why a call did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Errno {
    /// No such file is open.
    BadF = 8,
    /// It is there already.
    Exist = 20,
    /// A pointer leads out of the memory.
    Fault = 21,
    /// A name is no text.
    IlSeq = 25,
    /// An argument cannot be.
    Inval = 28,
    /// It is a folder.
    IsDir = 31,
    /// Too many files are open.
    MFile = 33,
    /// A name is too long.
    NameTooLong = 37,
    /// It is not there.
    NoEnt = 44,
    /// There is no room.
    NoSpc = 51,
    /// It is no folder.
    NotDir = 54,
    /// The folder is not empty.
    NotEmpty = 55,
    /// It is no socket.
    NotSock = 57,
    /// It is not supported.
    NotSup = 58,
    /// A stream has no place to go to.
    SPipe = 70,
    /// The descriptor does not allow it.
    NotCapable = 76,
}
