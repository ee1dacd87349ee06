//! Decides who may ask how much at once: the socket, its connections, and the lines on each.
//!
//! What a request does is decided in [`office`](super::office). Requests of one connection are begun in
//! order; an event that is sent gets its number before the next line is read, so that a script can
//! send without waiting and still be in order.
//!
//! # Limits
//!
//! * [`CONNECTIONS_MAX`]: one more is told *busy* and closed.
//! * [`REQUESTS_MAX`] of one connection under way: the next line is read when one has ended.
//! * [`REPLIES_MAX`] wait to be written: whoever does not read its replies is not read from.
//! * [`LINE_BYTES_MAX`]: a longer line is refused and the connection closed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use whimbrel_wire::NodeId;

use super::SOCKET_NAME;
use super::fault::{AdminFault, Again, Code, Fault};
use super::line::{self, LINE_BYTES_MAX, Line};
use super::names::Names;
use super::office::Office;
use super::words::{Ask, Body, Done, Part, Reply, Request, VERSION};
use crate::runtime::DaemonRuntime;
use crate::trust::Caller;

/// Most connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 64;

/// Most requests of one connection that are under way.
pub(super) const REQUESTS_MAX: usize = 1_024;

/// Most replies of one connection that wait to be written.
const REPLIES_MAX: usize = 1_024;

/// How long one that was turned away may take to hear it.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Where names are noted.
const NAMES_FILE: &str = "names.json";

/// The node's side of the admin socket. It listens until it is closed or dropped.
pub struct AdminServer {
    socket: PathBuf,
    listening: JoinHandle<()>,
    chronicle: JoinHandle<()>,
}

/// Why a node does not listen to its admin socket.
///
/// Fault: surroundings. Changed: nothing. Again: when the cause is gone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminServerError {
    /// The socket cannot be made, for example because its path is longer than the system allows.
    #[error("could not listen on {}", .socket.display())]
    Socket {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The noted names cannot be read.
    #[error("could not read the names in {}", .file.display())]
    Names {
        /// Where.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl AdminServer {
    /// Listens in `folder`, which belongs to this process alone; `nodes` says what members are
    /// called.
    ///
    /// # Errors
    ///
    /// [`AdminServerError`].
    pub fn open(
        runtime: DaemonRuntime,
        folder: &Path,
        nodes: BTreeMap<NodeId, String>,
    ) -> Result<Self, AdminServerError> {
        let file = folder.join(NAMES_FILE);
        let names = Names::open(file.clone(), nodes)
            .map_err(|cause| AdminServerError::Names { file, cause })?;
        let socket = folder.join(SOCKET_NAME);
        let listener = listen(folder, &socket)
            .map_err(|cause| AdminServerError::Socket { socket: socket.clone(), cause })?;
        let office = Arc::new(Office::new(runtime, names));
        let chronicle = tokio::spawn(Arc::clone(&office).keep_chronicle());
        let listening = tokio::spawn(accept(listener, office));
        Ok(Self { socket, listening, chronicle })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Closes the socket and all connections. What was begun may end or not.
    pub fn close(self) {}
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.listening.abort();
        self.chronicle.abort();
        // It may be gone already; the next start replaces it.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Binds in a folder that nobody else can enter, and moves the socket to its place when its rights
/// are set. A socket that a killed process left there is replaced.
fn listen(folder: &Path, socket: &Path) -> io::Result<UnixListener> {
    let private = folder.join(".admin");
    let _ = fs::remove_dir_all(&private);
    fs::DirBuilder::new().mode(0o700).create(&private)?;
    let made = private.join(SOCKET_NAME);
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, fs::Permissions::from_mode(0o600))?;
    fs::rename(&made, socket)?;
    fs::remove_dir(&private)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, office: Arc<Office>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin socket accepts nobody");
                return;
            }
        };
        if connections.len() >= CONNECTIONS_MAX {
            connections.spawn(turn_away(stream));
            // Those that are turned away are not kept beyond the bound for long either.
            while connections.len() > 2 * CONNECTIONS_MAX {
                connections.join_next().await;
            }
            continue;
        }
        connections.spawn(Connection::run(stream, Arc::clone(&office)));
    }
}

async fn turn_away(mut stream: UnixStream) {
    let fault = AdminFault::caller(
        Code::Busy,
        format!("{CONNECTIONS_MAX} connections are open already"),
        "close one, or try again in a moment",
    );
    let fault = fault.blaming(Fault::Nobody, Again::Later);
    if let Some(line) = line::write(&Reply { v: VERSION, id: 0, body: Body::Failed(fault) }) {
        // Whoever went away meanwhile need not be told.
        let _ = stream.write_all(&line).await;
        let _ = stream.shutdown().await;
    }
    // A socket that is closed before all of it was read takes back what was written to it.
    let (mut rest, mut nowhere) = (stream.take(LINE_BYTES_MAX as u64), tokio::io::sink());
    let drained = tokio::io::copy(&mut rest, &mut nowhere);
    let _ = tokio::time::timeout(FAREWELL_MAX, drained).await;
}

/// Where the replies to one request go.
#[derive(Clone)]
pub(super) struct Replies {
    id: u64,
    lines: mpsc::Sender<Vec<u8>>,
}

impl Replies {
    /// False once nobody listens.
    pub(super) async fn part(&self, part: Part) -> bool {
        self.body(Body::Part(part)).await
    }

    async fn end(&self, result: Result<Done, AdminFault>) {
        let body = result.map_or_else(Body::Failed, Body::Done);
        self.body(body).await;
    }

    async fn body(&self, body: Body) -> bool {
        let reply = Reply { v: VERSION, id: self.id, body };
        let line = line::write(&reply).or_else(|| {
            let fault = AdminFault::caller(
                Code::TooLong,
                "it was done, and the answer is longer than a line may be",
                "ask for less at a time",
            );
            line::write(&Reply { body: Body::Failed(fault), ..reply })
        });
        match line {
            Some(line) => self.lines.send(line).await.is_ok(),
            None => false,
        }
    }
}

struct Connection {
    office: Arc<Office>,
    lines: mpsc::Sender<Vec<u8>>,
    under_way: Arc<Semaphore>,
    tasks: JoinSet<()>,
    /// Those of the tasks that have no end of their own.
    endless: Vec<AbortHandle>,
    /// Who asks: it numbers the events of this connection, and has the token that was shown on it.
    caller: Caller,
}

impl Connection {
    async fn run(stream: UnixStream, office: Arc<Office>) {
        // The system says who opened the socket; it is for the log alone.
        let user = stream
            .peer_cred()
            .map_or_else(|_| "the socket".into(), |it| format!("uid {}", it.uid()));
        let caller = office.runtime().caller(&user);
        let (from, to) = stream.into_split();
        let (lines, written) = mpsc::channel(REPLIES_MAX);
        let under_way = Arc::new(Semaphore::new(REQUESTS_MAX));
        let mut connection =
            Self { office, lines, under_way, tasks: JoinSet::new(), endless: Vec::new(), caller };
        // The writer ends when the last sender is gone; the reader when the other side is, or does
        // not take replies.
        tokio::join!(write(to, written), async move {
            let closed = connection.lines.clone();
            tokio::select! {
                () = connection.read(BufReader::new(from)) => {}
                () = closed.closed() => {}
            }
        });
    }

    async fn read(&mut self, mut from: BufReader<OwnedReadHalf>) {
        loop {
            match line::read(&mut from, LINE_BYTES_MAX).await {
                Ok(Line::Whole(line)) => {
                    let under_way = Arc::clone(&self.under_way);
                    let Ok(permit) = under_way.acquire_owned().await else { return };
                    self.begin(&line, permit).await;
                }
                Ok(Line::TooLong) => {
                    let fault = AdminFault::caller(
                        Code::TooLong,
                        format!("a line is longer than {LINE_BYTES_MAX} bytes"),
                        "send shorter events",
                    );
                    self.replies(0).end(Err(fault)).await;
                    return self.finish().await;
                }
                Ok(Line::End) | Err(_) => return self.leave().await,
            }
        }
    }

    /// The other side asks no more: what was asked for and has an end is done.
    async fn leave(&mut self) {
        self.endless.drain(..).for_each(|task| task.abort());
        self.finish().await;
    }

    async fn finish(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn replies(&self, id: u64) -> Replies {
        Replies { id, lines: self.lines.clone() }
    }

    async fn begin(&mut self, line: &[u8], permit: OwnedSemaphorePermit) {
        while self.tasks.try_join_next().is_some() {}
        let request = match parse(line) {
            Ok(request) => request,
            Err((id, fault)) => return self.replies(id).end(Err(fault)).await,
        };
        let replies = self.replies(request.id);
        let office = Arc::clone(&self.office);
        if let Ask::Present { token } = &request.ask {
            let shown = office.present(&self.caller, token);
            let result = shown.map(|caller| self.caller = caller).map(|()| Done::Nothing);
            return replies.end(result).await;
        }
        let caller = self.caller.clone();
        if let Ask::Send { daemon, payload } = request.ask {
            let answer = office.send(&caller, &daemon, &payload);
            self.tasks.spawn(async move {
                let result = match answer {
                    Ok(answer) => answer.await,
                    Err(fault) => Err(fault),
                };
                replies.end(result).await;
                drop(permit);
            });
            return;
        }
        let is_endless = request.ask == Ask::Events { follow: true };
        let task = self.tasks.spawn(async move {
            let result = office.answer(request.ask, &caller, &replies).await;
            replies.end(result).await;
            drop(permit);
        });
        if is_endless {
            // At most as many as may be under way.
            self.endless.retain(|task| !task.is_finished());
            self.endless.push(task);
        }
    }
}

async fn write(mut to: OwnedWriteHalf, mut lines: mpsc::Receiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while lines.recv_many(&mut batch, 64).await > 0 {
        let bytes = batch.concat();
        batch.clear();
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// What every version of a request has.
#[derive(Deserialize)]
struct Opening {
    v: u32,
    #[serde(default)]
    id: u64,
}

fn parse(line: &[u8]) -> Result<Request, (u64, AdminFault)> {
    let malformed = |id: u64, error: &serde_json::Error| {
        let message = format!("the line is no request: {error}");
        (id, AdminFault::caller(Code::Malformed, message, "see the words of version 1"))
    };
    let opening: Opening = serde_json::from_slice(line).map_err(|error| malformed(0, &error))?;
    if opening.v != VERSION {
        let message = format!("the request has version {}, this node {VERSION}", opening.v);
        let next = "use the whimbrel command that belongs to the node";
        return Err((opening.id, AdminFault::caller(Code::Version, message, next)));
    }
    serde_json::from_slice(line).map_err(|error| malformed(opening.id, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_told_apart() {
        let refused = |line: &str| {
            let (id, fault) = parse(line.as_bytes()).unwrap_err();
            (id, fault.code)
        };
        assert_eq!(refused("{"), (0, Code::Malformed));
        assert_eq!(refused(&"[".repeat(100_000)), (0, Code::Malformed));
        assert_eq!(refused(r#"{"v":2,"id":3,"ask":{"teleport":{}}}"#), (3, Code::Version));
        assert_eq!(refused(r#"{"v":1,"id":3,"ask":{"teleport":{}}}"#), (3, Code::Malformed));
        assert_eq!(parse(br#"{"v":1,"id":3,"ask":{"node":{}}}"#).unwrap().ask, Ask::Node {});
    }

    #[tokio::test]
    async fn a_socket_belongs_to_its_owner_and_replaces_what_a_killed_process_left() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(SOCKET_NAME);
        let first = listen(folder.path(), &socket).unwrap();
        let mode = fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = listen(folder.path(), &socket).unwrap();
        drop(first);
        let (_, accepted) = tokio::join!(UnixStream::connect(&socket), second.accept());
        accepted.unwrap();
    }

    #[tokio::test]
    async fn who_is_turned_away_is_told_why() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut far = BufReader::new(far);
        let told = async {
            let line = line::read(&mut far, LINE_BYTES_MAX).await;
            drop(far);
            line
        };
        let (_, line) = tokio::join!(turn_away(near), told);
        let Ok(Line::Whole(line)) = line else { panic!("no line") };
        let reply: Reply = serde_json::from_slice(&line).unwrap();
        let Body::Failed(fault) = reply.body else { panic!("not refused") };
        assert_eq!((fault.code, fault.again), (Code::Busy, Again::Later));
    }
}
