//! Decides how a program asks a node of the same machine.

use std::io;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::fault::AdminFault;
use super::line::{self, LINE_BYTES_MAX, Line};
use super::words::{Ask, Body, Done, Part, Reply, Request, VERSION};

/// A connection to the admin socket of a node.
pub struct AdminClient {
    asker: Asker,
    listener: Listener,
}

/// The half that asks.
pub struct Asker {
    to: OwnedWriteHalf,
    next: u64,
}

/// The half that hears the replies.
pub struct Listener {
    from: BufReader<OwnedReadHalf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminClientError {
    /// No node listens there. Fault: caller or surroundings. Changed: nothing. Again: when it runs.
    #[error("no node listens on {}", .socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The node went away. Fault: surroundings. Changed: perhaps what was asked for. Again: when it
    /// is back, after a look at what was done.
    #[error("the node closed the connection before it had answered")]
    Closed,
    /// What came is no reply. Fault: peer. Changed: perhaps. Again: with a command of the same
    /// version.
    #[error("the reply of the node makes no sense: {0}")]
    Malformed(String),
    /// The request does not fit a line. Fault: caller. Changed: nothing. Again: no.
    #[error("the request is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// The node declined. All else stands there.
    #[error(transparent)]
    Refused(#[from] AdminFault),
}

impl AdminClient {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`AdminClientError::Connect`].
    pub async fn connect(socket: &Path) -> Result<Self, AdminClientError> {
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|cause| AdminClientError::Connect { socket: socket.to_owned(), cause })?;
        let (from, to) = stream.into_split();
        let listener = Listener { from: BufReader::new(from) };
        Ok(Self { asker: Asker { to, next: 1 }, listener })
    }

    /// Asks and waits for the end, without a look at the parts.
    ///
    /// # Errors
    ///
    /// [`AdminClientError`].
    pub async fn ask(&mut self, ask: Ask) -> Result<Done, AdminClientError> {
        self.ask_with(ask, |_| ()).await
    }

    /// Asks, sees each part and waits for the end.
    ///
    /// # Errors
    ///
    /// [`AdminClientError`].
    pub async fn ask_with(
        &mut self,
        ask: Ask,
        mut see: impl FnMut(Part),
    ) -> Result<Done, AdminClientError> {
        // A node that turns a connection away says so first, and hears nothing.
        let asked = match self.asker.ask(ask).await {
            Ok(asked) => asked,
            Err(AdminClientError::Closed) => 0,
            Err(error) => return Err(error),
        };
        loop {
            let reply = self.listener.next().await?;
            match reply.body {
                // A refusal of the whole connection has no request.
                Body::Failed(fault) if reply.id == 0 => return Err(fault.into()),
                Body::Part(_) | Body::Done(_) | Body::Failed(_) if reply.id != asked => {}
                Body::Part(part) => see(part),
                Body::Done(done) => return Ok(done),
                Body::Failed(fault) => return Err(fault.into()),
            }
        }
    }

    /// Takes it apart, for many requests under way.
    #[must_use]
    pub fn split(self) -> (Asker, Listener) {
        (self.asker, self.listener)
    }
}

impl Asker {
    /// Asks, and says under which id the replies will come.
    ///
    /// # Errors
    ///
    /// [`AdminClientError::Closed`], [`AdminClientError::TooLong`].
    pub async fn ask(&mut self, ask: Ask) -> Result<u64, AdminClientError> {
        let id = self.next;
        let line = line::write(&Request { v: VERSION, id, ask });
        let line = line.ok_or(AdminClientError::TooLong)?;
        self.next += 1;
        self.to.write_all(&line).await.map_err(|_| AdminClientError::Closed)?;
        Ok(id)
    }
}

impl Listener {
    /// The next reply to any request.
    ///
    /// # Errors
    ///
    /// [`AdminClientError::Closed`], [`AdminClientError::Malformed`].
    pub async fn next(&mut self) -> Result<Reply, AdminClientError> {
        match line::read(&mut self.from, LINE_BYTES_MAX).await {
            Ok(Line::Whole(line)) => serde_json::from_slice(&line)
                .map_err(|error| AdminClientError::Malformed(error.to_string())),
            Ok(Line::TooLong) => Err(AdminClientError::Malformed("it is too long".to_owned())),
            Ok(Line::End) | Err(_) => Err(AdminClientError::Closed),
        }
    }
}
