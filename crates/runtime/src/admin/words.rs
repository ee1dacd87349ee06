//! Decides what can be asked of a node, and how questions and answers look as lines of JSON.
//!
//! A request is `{"v":1,"id":7,"ask":…}`, a reply `{"v":1,"id":7,"body":…}`. The asker chooses the
//! id; replies to different requests may come in any order. A request is answered by any number of
//! parts and one end: `done` or `failed`. Ids are written as people see them: daemons as 64
//! hexadecimal digits, nodes as `n` and a number.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use whimbrel_trust::{PermissionToken, TrustRefusal};
use whimbrel_wire::{EntityId, Identity, hex, unhex};
use zeroize::Zeroizing;

use super::fault::AdminFault;

/// The version of these words. A node refuses any other.
pub const VERSION: u32 = 1;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub v: u32,
    /// Comes back with each reply.
    pub id: u64,
    /// What.
    pub ask: Ask,
}

/// What can be asked. A `daemon` is a full id, the unique beginning of one, an origin hash
/// (`o123`) or a name that was given at this node; a node is `n123` or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Who are you?
    Node {},
    /// Whom do you know? One part for each node.
    Nodes {},
    /// Here is a token: it counts for what is asked on this connection from here on.
    Present {
        /// Its text.
        token: TokenText,
    },
    /// Believe no token any more that has this block.
    Revoke {
        /// The id of a block: 64 hexadecimal digits.
        block: String,
    },
    /// Which daemons do you know? One part for each.
    Daemons {},
    /// Which daemon is it, and where does it live?
    Find {
        /// Which.
        daemon: String,
    },
    /// Bear a daemon.
    Spawn {
        /// Of which kind.
        kind: String,
        /// How it is hosted, who it is and what it is called here.
        birth: Birth,
        /// What it is given: for a statechart its definition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given: Option<Payload>,
        /// A file whose bytes it is given after that: for an isolate its module. An absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
    },
    /// Bear a daemon with the state that another one has at this moment, and a name of its own.
    Fork {
        /// Of which; it lives here.
        daemon: String,
        /// How it is hosted, who it is and what it is called here.
        birth: Birth,
    },
    /// Send an event, exactly once. Events of one connection are numbered in the order in which
    /// they were asked for.
    Send {
        /// To which daemon.
        daemon: String,
        /// What.
        payload: Payload,
    },
    /// Move a daemon and wait for the end.
    Migrate {
        /// Which.
        daemon: String,
        /// Where to; without it, to the node that suits it best, after a part for each node that says why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// Whether its key travels.
        transport_identity: bool,
        /// Freeze first and copy then.
        freeze_and_copy: bool,
        /// Whether parts say how it goes.
        watch: bool,
        /// What whoever asks agrees to, in a form of the daemon's kind: a plan of the gate for a
        /// statechart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<String>,
    },
    /// Give up a move that was asked for here.
    Cancel {
        /// Of which daemon.
        daemon: String,
    },
    /// What happened: the recent past, one part for each event.
    Events {
        /// And what happens from here on, without end.
        follow: bool,
    },
    /// Check the chain of a daemon that lives here.
    Verify {
        /// Which.
        daemon: String,
    },
    /// How often was this daemon taken back from an older state? One part for each time. Any member knows.
    Forks {
        /// Which.
        daemon: String,
    },
    /// Write an invitation to the mesh, for one guest.
    Invite {
        /// The key of the guest, 64 hexadecimal digits; without it, whoever has the invitation first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest: Option<String>,
        /// How long it is good for, in seconds.
        seconds: u64,
        /// Whether the guest takes the place of the node that is asked.
        #[serde(default)]
        succeeds: bool,
    },
    /// Move all daemons away, and leave the mesh.
    Leave {
        /// Where the daemons go; without it, each to the node that suits it best.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
    },
    /// Strike a member off. Its daemons stay with it, and are served by nobody.
    Expel {
        /// Which.
        node: String,
    },
    /// Write a snapshot of a daemon that lives here into a new file.
    Export {
        /// Which.
        daemon: String,
        /// Where to; an absolute path.
        file: PathBuf,
    },
    /// Bear a daemon from a snapshot, or bring it back.
    Import {
        /// Where it is; an absolute path.
        file: PathBuf,
        /// Of which kind, if not the one that the snapshot names.
        kind: Option<String>,
        /// How it is hosted, who it is and what it is called here.
        birth: Birth,
        /// Its owner is lost for good: it goes on here in a new epoch, and what it took in since is given up.
        #[serde(default)]
        revive: bool,
    },
    /// Open a channel of a daemon that lives here, or change what it retains.
    Open {
        /// Of which daemon.
        daemon: String,
        /// What the channel is called.
        channel: String,
        /// How many of the last messages it keeps for those who come late.
        retained: u32,
    },
    /// Publish in the name of a daemon that lives here.
    Publish {
        /// Which.
        daemon: String,
        /// On which channel.
        channel: String,
        /// What.
        payload: Payload,
    },
    /// Let a daemon that lives here listen.
    Subscribe {
        /// Which.
        daemon: String,
        /// To which daemon.
        publisher: String,
        /// On which channel.
        channel: String,
        /// Begin with the oldest message that is retained.
        retained: bool,
        /// Begin after this number.
        after: Option<u64>,
        /// Leave messages out if so many are on their way.
        recent: Option<u32>,
    },
    /// Let a daemon that lives here listen no more.
    Unsubscribe {
        /// Which.
        daemon: String,
        /// To which daemon.
        publisher: String,
        /// On which channel.
        channel: String,
    },
    /// Take a subscriber that is gone for good off all channels of a daemon that lives here, and forget
    /// what is owed to it.
    Dismiss {
        /// Which daemon publishes.
        daemon: String,
        /// Who is gone.
        subscriber: String,
    },
    /// Which channels has a daemon that lives here, and to which does it listen? One part for each
    /// subscriber and each subscription.
    Channels {
        /// Which.
        daemon: String,
    },
    /// Give a token to a daemon that runs here. It moves with it.
    Give {
        /// Which daemon.
        daemon: String,
        /// The token.
        token: TokenText,
    },
    /// Take from a daemon that runs here the tokens that have a block.
    Take {
        /// Which daemon.
        daemon: String,
        /// The id of the block, 64 hexadecimal digits.
        block: String,
    },
    /// Which tokens does a daemon hold that runs here? One part for each.
    Held {
        /// Which daemon.
        daemon: String,
    },
    /// Stop a daemon. It stays on disk.
    Stop {
        /// Which.
        daemon: String,
    },
    /// Delete a daemon for good.
    Delete {
        /// Which.
        daemon: String,
    },
    /// Take back a daemon that was handed over from here to a node whose disk was lost. All that the
    /// heir took in is lost.
    Reclaim {
        /// Which.
        daemon: String,
    },
}

/// What a new daemon is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Birth {
    /// The seed of its key; none for a random one.
    pub seed: Option<Seed>,
    /// What it is called at this node.
    pub name: Option<String>,
    /// Whether it lives in memory alone.
    pub volatile: bool,
}

/// The secret from which the key of a daemon grows: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<String>);

/// The text of a token. It is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Zeroizing<String>);

/// Bytes: text as a string, anything else as `{"hex":"…"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// Bytes that are UTF-8.
    Text(String),
    /// Any bytes.
    Hex {
        /// Two hexadecimal digits for each.
        hex: String,
    },
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// [`VERSION`].
    pub v: u32,
    /// To which request; 0 when that could not be read.
    pub id: u64,
    /// What.
    pub body: Body,
}

/// One part of an answer, or its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// More follows.
    Part(Part),
    /// The end.
    Done(Done),
    /// The end: it was not done.
    Failed(AdminFault),
}

/// One of many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// A node.
    Node(NodeLine),
    /// A daemon.
    Daemon(DaemonLine),
    /// Something that happened.
    Event(EventLine),
    /// How a move goes.
    Progress(MoveProgress),
    /// A node to which a daemon might go.
    Place(PlaceLine),
    /// A daemon was taken back from an older state.
    Fork(ForkLine),
    /// A channel, and who is at its other end.
    Channel(ChannelLine),
    /// A token that a daemon holds.
    Token(HeldLine),
}

/// A token that a daemon holds, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLine {
    /// For whom it was made, and for whom it was narrowed then.
    pub holder: String,
    /// The id of its last block.
    pub block: String,
}

/// How a request ended well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// There is nothing to add.
    Nothing,
    /// The node that was asked.
    Node(NodeLine),
    /// A daemon: found or born.
    Daemon(DaemonLine),
    /// What a daemon answered; the turn is durable.
    Answered {
        /// Its outputs.
        outputs: Vec<Payload>,
        /// Why it declined the event, which counts as taken.
        declined: Option<String>,
    },
    /// A move ended on the target.
    Moved(MoveReport),
    /// A chain holds.
    Verified(Verdict),
    /// An invitation. Whoever has it can join: keep it as a secret.
    Invited {
        /// Its text.
        invitation: String,
    },
    /// The node has left.
    Left {
        /// Members that have not said that they know; others will tell them.
        unaware: Vec<String>,
    },
    /// A file was written.
    Exported {
        /// How long it is.
        bytes: u64,
    },
}

/// A node, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its id.
    pub node: String,
    /// What it is called here.
    pub name: Option<String>,
    /// Its public key.
    pub key: String,
    /// Where it can be dialled.
    pub addresses: Vec<String>,
    /// Whether it is the node that was asked.
    pub own: bool,
    /// Whether a connection to it stands.
    pub connected: bool,
    /// The estimated time to it and back, in microseconds.
    pub round_trip_us: Option<u64>,
    /// How many daemons live on it, as far as the node that was asked knows.
    pub daemons: u64,
    /// Whether the node that was asked is ready.
    pub ready: bool,
    /// How it seems to be: `unheard`, `alive`, `suspect` or `down`. A hint.
    #[serde(default)]
    pub state: String,
    /// For how long, in microseconds.
    #[serde(default)]
    pub state_for_us: u64,
    /// What it last said of itself.
    #[serde(default)]
    pub says: Option<NodeSays>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSays {
    /// Whether it hosts daemons.
    pub hosts: bool,
    /// How many live there.
    pub daemons: u64,
    /// Threads that want a processor, in thousandths of what it has.
    pub busy_permille: Option<u32>,
    /// Memory that further daemons may claim, in bytes; none if there is no bound.
    pub memory_free_bytes: Option<u64>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The kinds that it can build.
    pub kinds: Vec<String>,
}

/// A node to which a daemon might go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceLine {
    /// Which.
    pub node: String,
    /// What it is called here.
    pub name: Option<String>,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
    /// Whether it would do.
    pub fits: bool,
    /// Why it does not, or what is in its favour.
    pub why: String,
}

/// A daemon, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonLine {
    /// Its id.
    pub daemon: String,
    /// Its origin hash.
    pub origin: String,
    /// What it is called here.
    pub name: Option<String>,
    /// Its kind, where known.
    pub kind: Option<String>,
    /// What the node that was asked is to it.
    pub standing: String,
    /// Where it lives, as far as known.
    pub owner: Option<String>,
    /// What that node is called here.
    pub owner_name: Option<String>,
    /// In which epoch, as far as known.
    pub epoch: Option<u64>,
    /// How many inputs it has taken, if it lives on the node that was asked.
    pub position: Option<u64>,
    /// How many events wait at its gate.
    pub held: u64,
    /// How it is, in the words of its kind, if it lives on the node that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub particulars: Option<String>,
}

/// A channel of a daemon, or one to which it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelLine {
    /// What it is called.
    pub channel: String,
    /// Whether the daemon publishes there, or listens.
    pub publishes: bool,
    /// The daemon at the other end; none where nobody listens.
    pub other: Option<String>,
    /// The number of the next message, where the daemon publishes.
    pub next: Option<u64>,
    /// How many messages are retained, where the daemon publishes.
    pub retained: Option<u64>,
}

/// Something that happened to a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// When, in microseconds since the Unix epoch, by the clock of the node.
    pub at_us: u64,
    /// To which daemon.
    pub daemon: String,
    /// What, in one word.
    pub event: String,
    /// The rest.
    pub detail: String,
}

/// A daemon was taken back from an older state, as a signed record says that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkLine {
    /// Which daemon.
    pub daemon: String,
    /// The epoch that was given up.
    pub lost: u64,
    /// The epoch in which it goes on.
    pub epoch: u64,
    /// The position from which it goes on.
    pub position: u64,
    /// Whose epoch was given up.
    pub loser: String,
    /// Who took it back, and signed that; empty if it was brought back from a snapshot, by its own key.
    pub by: String,
}

/// How a move goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveProgress {
    /// In which phase.
    pub phase: Option<String>,
    /// Bytes of the snapshot that were sent.
    pub bytes_sent: u64,
    /// Bytes of the snapshot in all.
    pub bytes_total: u64,
    /// Turns that the target has replayed.
    pub events_replayed: u64,
    /// Turns that it still lacks.
    pub lag: u64,
    /// Where the daemon is: `localized`, `spreading`, `superposed`, `ready-to-collapse`, `collapsed`, `resolved`.
    #[serde(default)]
    pub superposition: String,
    /// Since the move was asked for, in microseconds.
    pub elapsed_us: u64,
    /// The pause to expect if the daemon froze at this moment, in microseconds: a round trip to the
    /// target and the replay of what it lacks, at the speed seen so far.
    pub pause_expected_us: Option<u64>,
}

/// How a move went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveReport {
    /// Where the daemon lives.
    pub owner: String,
    /// What that node is called here.
    pub owner_name: Option<String>,
    /// Since when, in epochs.
    pub epoch: Option<u64>,
    /// How long the move took, in microseconds.
    pub elapsed_us: u64,
    /// How long its last step took, seen from the node that was asked, in microseconds.
    pub cutover_us: Option<u64>,
    /// What was expected before it, in microseconds.
    pub pause_expected_us: Option<u64>,
    /// Bytes of the snapshot.
    pub bytes_total: u64,
    /// Turns that were replayed on the target.
    pub events_replayed: u64,
}

/// A chain that holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whose.
    pub daemon: String,
    /// Deeds from its birth on, each with a good signature.
    pub deeds: u64,
    /// Outputs that were followed link by link.
    pub links: u64,
    /// Whether that is all outputs since its birth. Otherwise older ones are not at hand.
    pub complete: bool,
    /// How many outputs it has made in all.
    pub sequence: u64,
    /// In which epoch the chain ends.
    pub epoch: u64,
    /// How often it was taken back from an older state.
    #[serde(default)]
    pub forks: u64,
}

impl Seed {
    /// The seed of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(hex(bytes)))
    }

    /// The seed in a text; none if it is not 64 hexadecimal digits, white space around it aside.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = Zeroizing::new(unhex(text)?);
        (bytes.len() == 32).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// The text: 64 hexadecimal digits.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The identity that grows from it; none if it is no seed.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let bytes = Zeroizing::new(unhex(&self.0)?);
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(bytes.as_slice().try_into().ok()?);
        Some(Identity::from_seed(&seed))
    }
}

impl TokenText {
    /// The text of this token.
    #[must_use]
    pub fn new(token: &PermissionToken) -> Self {
        Self(token.to_text())
    }

    /// The token; it is not verified yet.
    ///
    /// # Errors
    ///
    /// [`TrustRefusal`].
    pub fn token(&self) -> Result<PermissionToken, TrustRefusal> {
        PermissionToken::from_text(&self.0)
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(secret)")
    }
}

impl Serialize for TokenText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TokenText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Seed {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        Self::parse(&text).ok_or_else(|| D::Error::custom("a seed is 64 hexadecimal digits"))
    }
}

impl Payload {
    /// The words for these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex { hex: hex(bytes) },
        }
    }

    /// The bytes; none if the digits are none.
    #[must_use]
    pub fn bytes(&self) -> Option<Bytes> {
        match self {
            Self::Text(text) => Some(Bytes::copy_from_slice(text.as_bytes())),
            Self::Hex { hex } => unhex(hex).map(Bytes::from),
        }
    }
}

/// The 64 digits of a daemon.
#[must_use]
pub fn daemon_text(entity: &EntityId) -> String {
    hex(entity.as_bytes())
}

/// The daemon of 64 digits.
#[must_use]
pub fn daemon_of(text: &str) -> Option<EntityId> {
    if text.len() != 64 {
        return None;
    }
    Some(EntityId::from_bytes(unhex(text)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_and_comes_back_as_it_was() {
        let ask = Ask::Send { daemon: "cafe".into(), payload: Payload::of(b"put a\nb") };
        let request = Request { v: VERSION, id: 7, ask };
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(line, r#"{"v":1,"id":7,"ask":{"send":{"daemon":"cafe","payload":"put a\nb"}}}"#);
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request);
    }

    #[test]
    fn any_bytes_travel_and_bad_digits_do_not() {
        for bytes in [&b""[..], b"text", "ä\n".as_bytes(), &[0xff, 0, 0x80]] {
            let line = serde_json::to_string(&Payload::of(bytes)).unwrap();
            let back: Payload = serde_json::from_str(&line).unwrap();
            assert_eq!(back.bytes().unwrap(), bytes);
        }
        for hex in ["f", "fg", "+1", "ää"] {
            assert_eq!(Payload::Hex { hex: hex.into() }.bytes(), None, "{hex}");
        }
    }

    #[test]
    fn what_is_not_a_word_is_refused() {
        let refused = [
            r#"{"v":1,"id":7}"#,
            r#"{"v":1,"id":7,"ask":{"explode":{}}}"#,
            r#"{"v":1,"id":7,"ask":{"find":{"daemon":"a","more":1}}}"#,
            r#"{"v":1,"id":-7,"ask":{"node":{}}}"#,
        ];
        for line in refused {
            assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_seed_is_read_from_its_digits_and_never_printed() {
        let seed = Seed::new(&[7; 32]);
        assert_eq!(Seed::parse(&format!("{}\n", seed.text())), Some(seed.clone()));
        assert_eq!(format!("{seed:?}"), "Seed(secret)");
        assert_eq!(seed.identity().unwrap().entity_id(), Identity::from_seed(&[7; 32]).entity_id());
        assert_eq!(Seed::parse("77"), None);
        assert_eq!(Seed::parse(&"x".repeat(64)), None);
    }
}
