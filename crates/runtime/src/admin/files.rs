//! Decides how snapshots become files: whole and durable, or not at all.

use std::io;
use std::path::Path;

use bytes::Bytes;
use whimbrel_daemon::limits::SNAPSHOT_BYTES_MAX;

use super::fault::{AdminFault, Again, Code, Fault};

/// What blocks, on a thread that may.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminFault> + Send + 'static,
) -> Result<T, AdminFault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let fault = AdminFault::caller(Code::Internal, error.to_string(), "look at the log");
        Err(fault.blaming(Fault::Node, Again::No))
    })
}

fn file_failed(what: &str, file: &Path, error: &io::Error) -> AdminFault {
    let message = format!("could not {what} {}: {error}", file.display());
    let next = "name a file in a folder that the node may use; none is overwritten";
    AdminFault::caller(Code::File, message, next).blaming(Fault::Surroundings, Again::Yes)
}

/// The file appears whole and durable, or not at all.
pub(super) fn write_new(file: &Path, bytes: &[u8]) -> Result<u64, AdminFault> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut open = options.write(true).create_new(true).mode(0o600).open(file)?;
        let written = open.write_all(bytes).and_then(|()| open.sync_all());
        if written.is_err() {
            // Half a file is worse than none.
            let _ = std::fs::remove_file(file);
        }
        written
    };
    write().map_err(|error| file_failed("write", file, &error))?;
    Ok(bytes.len() as u64)
}

pub(super) fn read_whole(file: &Path) -> Result<Bytes, AdminFault> {
    let failed = |error: &io::Error| file_failed("read", file, error);
    let bytes = std::fs::metadata(file).map_err(|error| failed(&error))?.len();
    if bytes > SNAPSHOT_BYTES_MAX {
        let message = format!("a snapshot of {bytes} bytes is longer than {SNAPSHOT_BYTES_MAX}");
        return Err(AdminFault::caller(Code::TooLong, message, "move the daemon instead"));
    }
    Ok(std::fs::read(file).map_err(|error| failed(&error))?.into())
}
