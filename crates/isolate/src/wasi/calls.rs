//! Decides which functions of WASI preview 1 there are, and who does them.
//!
//! Each call is over at once, or says what it waits for and has changed nothing: it is made again
//! where the program goes on.

use super::errno::Errno;
use super::memory::Memory;
use super::state::Wasi;
use crate::value::{FuncType, ValType, Value};

/// The name of the module that they are imported from.
pub(crate) const IMPORT_MODULE: &str = "wasi_snapshot_preview1";

/// What a call waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Wait {
    /// The time at which it is over anyway, in nanoseconds since the Unix epoch.
    pub(crate) until: Option<u64>,
    /// Whether input ends it.
    pub(crate) input: bool,
    /// Whether output that was taken ends it.
    pub(crate) room: bool,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// With these results.
    Done(Vec<Value>),
    /// The program ends with this code.
    Exit(u32),
    /// Not yet. What is noted comes back when the call is made again.
    Wait(Wait, Vec<u8>),
    /// It is refused, and the program ends.
    Refused(&'static str),
}

/// What a call is made with.
pub(super) struct Call<'a> {
    pub(super) arguments: &'a [Value],
    pub(super) memory: Memory<'a>,
    /// The time of the turn, in nanoseconds since the Unix epoch.
    pub(super) now: u64,
    pub(super) note: Option<&'a [u8]>,
}

impl Call<'_> {
    /// An argument as 32 bits.
    pub(super) fn u32(&self, at: usize) -> u32 {
        self.u64(at) as u32
    }

    /// An argument, whatever its width.
    pub(super) fn u64(&self, at: usize) -> u64 {
        match self.arguments.get(at) {
            Some(Value::I32(number)) => u64::from(*number),
            Some(Value::I64(number)) => *number,
            _ => 0,
        }
    }

    /// The text that the pointer of this argument and the length in the next one mean.
    pub(super) fn text(&self, at: usize) -> Result<String, Errno> {
        let bytes = self.memory.bytes(self.u32(at), self.u32(at + 1))?;
        let text = std::str::from_utf8(bytes).map_err(|_| Errno::IlSeq)?;
        if text.contains('\0') { Err(Errno::IlSeq) } else { Ok(text.to_owned()) }
    }

    /// The pieces that this argument and the next one mean.
    pub(super) fn pieces(&self, at: usize) -> Result<Vec<(u32, u32)>, Errno> {
        self.memory.pieces(self.u32(at), self.u32(at + 1))
    }
}

/// How a function ends: a number, or a wait.
pub(super) enum End {
    Ok,
    Wait(Wait, Vec<u8>),
}

pub(super) type Ended = Result<End, Errno>;
type Function = fn(&mut Wasi, &mut Call<'_>) -> Ended;

/// A function of the interface.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    params: &'static [ValType],
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// Gives a number.
    Does(Function),
    /// Ends the program.
    Exit,
    /// A socket.
    Socket,
}

const I: ValType = ValType::I32;
const L: ValType = ValType::I64;

/// The function of this name.
pub(crate) fn find(name: &str) -> Option<Known> {
    use super::{clocks, descriptors, paths, words};
    let (params, does): (&'static [ValType], Function) = match name {
        "args_get" => (&[I, I], words::args_get),
        "args_sizes_get" => (&[I, I], words::args_sizes_get),
        "environ_get" => (&[I, I], words::environ_get),
        "environ_sizes_get" => (&[I, I], words::environ_sizes_get),
        "clock_res_get" => (&[I, I], clocks::clock_res_get),
        "clock_time_get" => (&[I, L, I], clocks::clock_time_get),
        "poll_oneoff" => (&[I, I, I, I], clocks::poll_oneoff),
        "sched_yield" => (&[], clocks::sched_yield),
        "random_get" => (&[I, I], words::random_get),
        "fd_advise" => (&[I, L, L, I], descriptors::fd_advise),
        "fd_allocate" => (&[I, L, L], descriptors::fd_allocate),
        "fd_close" => (&[I], descriptors::fd_close),
        "fd_datasync" | "fd_sync" => (&[I], descriptors::fd_sync),
        "fd_fdstat_get" => (&[I, I], descriptors::fd_fdstat_get),
        "fd_fdstat_set_flags" => (&[I, I], descriptors::fd_fdstat_set_flags),
        "fd_fdstat_set_rights" => (&[I, L, L], descriptors::fd_fdstat_set_rights),
        "fd_filestat_get" => (&[I, I], descriptors::fd_filestat_get),
        "fd_filestat_set_size" => (&[I, L], descriptors::fd_filestat_set_size),
        "fd_filestat_set_times" => (&[I, L, L, I], descriptors::fd_filestat_set_times),
        "fd_pread" => (&[I, I, I, L, I], descriptors::fd_pread),
        "fd_prestat_get" => (&[I, I], descriptors::fd_prestat_get),
        "fd_prestat_dir_name" => (&[I, I, I], descriptors::fd_prestat_dir_name),
        "fd_pwrite" => (&[I, I, I, L, I], descriptors::fd_pwrite),
        "fd_read" => (&[I, I, I, I], descriptors::fd_read),
        "fd_readdir" => (&[I, I, I, L, I], descriptors::fd_readdir),
        "fd_renumber" => (&[I, I], descriptors::fd_renumber),
        "fd_seek" => (&[I, L, I, I], descriptors::fd_seek),
        "fd_tell" => (&[I, I], descriptors::fd_tell),
        "fd_write" => (&[I, I, I, I], descriptors::fd_write),
        "path_create_directory" => (&[I, I, I], paths::path_create_directory),
        "path_filestat_get" => (&[I, I, I, I, I], paths::path_filestat_get),
        "path_filestat_set_times" => (&[I, I, I, I, L, L, I], paths::path_filestat_set_times),
        "path_link" => (&[I, I, I, I, I, I, I], paths::path_link),
        "path_open" => (&[I, I, I, I, I, L, L, I, I], paths::path_open),
        "path_readlink" => (&[I, I, I, I, I, I], paths::path_readlink),
        "path_remove_directory" => (&[I, I, I], paths::path_remove_directory),
        "path_rename" => (&[I, I, I, I, I, I], paths::path_rename),
        "path_symlink" => (&[I, I, I, I, I], paths::path_link),
        "path_unlink_file" => (&[I, I, I], paths::path_unlink_file),
        "proc_raise" => (&[I], words::not_supported),
        "proc_exit" => return Some(Known { params: &[I], what: What::Exit }),
        "sock_accept" => return socket(&[I, I, I]),
        "sock_recv" => return socket(&[I, I, I, I, I, I]),
        "sock_send" => return socket(&[I, I, I, I, I]),
        "sock_shutdown" => return socket(&[I, I]),
        _ => return None,
    };
    Some(Known { params, what: What::Does(does) })
}

fn socket(params: &'static [ValType]) -> Option<Known> {
    Some(Known { params, what: What::Socket })
}

impl Known {
    /// The type that an import of it must have.
    pub(crate) fn ty(self) -> FuncType {
        let results: &[ValType] = if let What::Exit = self.what { &[] } else { &[I] };
        FuncType { params: self.params.into(), results: results.into() }
    }

    /// Does it.
    pub(crate) fn serve(
        self,
        wasi: &mut Wasi,
        arguments: &[Value],
        memory: &mut [u8],
        now: u64,
        note: Option<&[u8]>,
    ) -> Served {
        let mut call = Call { arguments, memory: Memory(memory), now, note };
        let number = |number: u16| Served::Done(vec![Value::I32(u32::from(number))]);
        match self.what {
            What::Exit => Served::Exit(call.u32(0)),
            What::Socket => match wasi.descriptors.contains_key(&call.u32(0)) {
                true => number(Errno::NotSock as u16),
                false => Served::Refused("there are no sockets: use a daemon of the host instead"),
            },
            What::Does(does) => match does(wasi, &mut call) {
                Ok(End::Ok) => number(0),
                Ok(End::Wait(wait, note)) => Served::Wait(wait, note),
                Err(errno) => number(errno as u16),
            },
        }
    }
}
