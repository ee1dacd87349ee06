//! Decides what can be said to the command, and which part of it does what was said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use whimbrel::daemon::Priority;
use whimbrel::runtime::admin::SOCKET_NAME;

use crate::failure::Advice;
use crate::{ask, demo, heap, node, send, sim, trace};

/// Stateful daemons that move between nodes while they work: nothing lost, nothing done twice.
///
/// DAEMON is a full id, the unique beginning of one (4 digits or more), an origin hash (o123) or a
/// name given at `spawn`. NODE is a name or an id (n123). Exit codes: 0 done, 1 tried and not
/// successful, 2 wrong words, 3 no node answers, 4 declined and nothing changed, 5 unknown outcome.
#[derive(Debug, Parser)]
#[command(name = "whimbrel", version)]
pub(crate) struct Words {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

/// Which node is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The folder of the node that is asked.
    #[arg(long, global = true, value_name = "DIR", env = "WHIMBREL_DATA")]
    data: Option<PathBuf>,
    /// The admin socket of the node that is asked, instead of its folder.
    #[arg(long, global = true, value_name = "SOCKET")]
    node: Option<PathBuf>,
    /// The file with a token, for a node that demands one.
    #[arg(long, global = true, value_name = "FILE", env = "WHIMBREL_TOKEN")]
    token: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run a node, or prepare one.
    Node(NodeWords),
    /// Bear a daemon of a kind (built in: kv, tally, statechart, isolate) on the node.
    Spawn(SpawnWords),
    /// Run a WebAssembly program on the node and show it here, wherever it moves. Ends with its exit
    /// code.
    Run(crate::run::RunWords),
    /// Show a program that runs, and give it what is typed.
    Attach {
        /// Which daemon.
        daemon: String,
    },
    /// Let a program rest; it can be moved meanwhile.
    Pause {
        /// Which daemon.
        daemon: String,
    },
    /// Let a program go on.
    Resume {
        /// Which daemon.
        daemon: String,
    },
    /// Move programs that run between real nodes, and compare them with a run that nobody disturbed.
    /// Exit 1 on any difference.
    ClusterSim(crate::cluster_sim::ClusterSimWords),
    /// Send events, each exactly once, and print a ledger for many.
    Send(SendWords),
    /// Send one event and print what the daemon answers.
    Ask {
        /// To which daemon.
        daemon: String,
        /// What; several words are joined with spaces.
        #[arg(required = true)]
        payload: Vec<OsString>,
    },
    /// List the daemons that the node knows.
    Ps,
    /// List the nodes that the node knows.
    Nodes,
    /// Print an invitation to the mesh, good for one node that starts with `whimbrel node --join`. Whoever has it
    /// can join: keep it as a secret.
    Invite {
        /// For the node with this key alone (64 hexadecimal digits).
        #[arg(long, value_name = "KEY")]
        guest: Option<String>,
        /// How long it is good for.
        #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=720))]
        hours: u64,
    },
    /// Let a new key take the place of this node's. Prints an invitation for the node that has it; once that one has
    /// joined, `whimbrel leave` moves all daemons to it and the old key is none any more.
    RotateKey {
        /// The new key (64 hexadecimal digits), from `whimbrel node init` and `whimbrel node key`.
        key: String,
    },
    /// Move all daemons away from this node, and leave the mesh. After `rotate-key`, to the successor.
    Leave {
        /// Where they go; without it, each to the node that suits it best.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
    /// Strike a node off the list of members. Its daemons stay with it, and are served by nobody.
    Expel {
        // Not called `node`: that is the option which says what node is asked.
        /// Which.
        #[arg(value_name = "NODE")]
        member: String,
    },
    /// Move a daemon to another node while it works.
    Migrate(MigrateWords),
    /// Give up a move that was asked for at the node, if it is not too late.
    Cancel {
        /// Of which daemon.
        daemon: String,
    },
    /// Print what happened to daemons, as the node saw it.
    Events {
        /// Go on with what happens next.
        #[arg(long)]
        follow: bool,
    },
    /// Check the chain of a daemon, hand-overs included.
    Verify {
        /// Which.
        daemon: String,
    },
    /// Say how often a daemon was taken back from an older state, by the signed records in its title.
    Forks {
        /// Which.
        daemon: String,
    },
    /// Check the trace of a node against the machines of this program.
    VerifyTrace {
        /// What the config of the node calls `trace`.
        file: PathBuf,
    },
    /// Bear a daemon with the state that another one has at this moment, and a name of its own.
    Fork {
        /// Of which; it lives on the node that is asked.
        daemon: String,
        #[command(flatten)]
        birth: BirthWords,
    },
    /// Take a daemon's state out into a file, or bear one from it.
    #[command(subcommand)]
    Snapshot(SnapshotWords),
    /// Judge whether running statecharts may go on under another definition. Exit codes: 0
    /// identical, 10 equivalent, 11 compatible, 12 needs consent, 13 needs plan, 14 refused.
    Gate(Box<crate::chart::gate::GateWords>),
    /// Check, draw, compare, test, convert and run statecharts.
    #[command(subcommand)]
    Chart(crate::chart::ChartWords),
    /// Stop a daemon; it stays on disk.
    Stop {
        /// Which.
        daemon: String,
    },
    /// Take back a daemon that was handed over from this node to one whose disk is lost. What that one
    /// took in is lost.
    Reclaim {
        /// Which.
        daemon: String,
        /// You know that all which the heir took in is lost, and that it is off for good.
        #[arg(long)]
        accept_loss: bool,
    },
    /// Delete a daemon for good.
    Delete {
        /// Which.
        daemon: String,
    },
    /// Publish on a channel of a daemon that lives on the node, or open one.
    Publish(crate::channel::PublishWords),
    /// Let a daemon that lives on the node listen to a channel of another one, anywhere.
    Subscribe(crate::channel::SubscribeWords),
    /// Let a daemon listen no more.
    Unsubscribe {
        /// Which daemon listens.
        daemon: String,
        /// To which daemon.
        publisher: String,
        /// On which channel.
        channel: String,
    },
    /// Take a subscriber that is gone for good off all channels of a daemon that lives on the node, and forget
    /// what is owed to it.
    Dismiss {
        /// Which daemon publishes.
        daemon: String,
        /// Who is gone.
        subscriber: String,
        /// You know that all which is owed to it is lost, and that nothing reaches it from this daemon again.
        #[arg(long)]
        accept_loss: bool,
    },
    /// List the channels of a daemon that lives on the node: its own, and those that it listens to.
    Channels {
        /// Which daemon.
        daemon: String,
    },
    /// Make, narrow, look at and revoke tokens.
    #[command(subcommand)]
    Token(crate::token::TokenWords),
    /// Print what was asked of the node and what came of it, or say whether the log of that holds together.
    Audit(crate::audit::AuditWords),
    /// Rehearse a plan in a simulated cluster: what a drain, a restart, a loss of nodes would do. Exit 1
    /// if a promise was broken or what the plan expects did not come true.
    Sim(sim::SimWords),
    /// Three nodes on this machine, daemons that move between them under load, a killed node, and
    /// a ledger that is checked.
    Demo(demo::DemoWords),
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
struct NodeWords {
    /// The config file of the node; without it, node.toml in the folder of --data.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End when the standard input ends: for whoever starts nodes and must not leave any behind.
    #[arg(long)]
    tethered: bool,
    /// Let programs that arrive begin anew, to see that this is found.
    #[arg(long, hide = true)]
    resume_at_start: bool,
    /// Join a mesh by this invitation, which `whimbrel invite` or `whimbrel rotate-key` printed.
    #[arg(long, value_name = "INVITATION")]
    join: Option<String>,
    #[command(subcommand)]
    what: Option<NodeWhat>,
}

#[derive(Debug, Subcommand)]
enum NodeWhat {
    /// Make a folder with a new key and a config file.
    Init {
        /// Which folder.
        folder: PathBuf,
        /// What the node is called.
        #[arg(long)]
        name: String,
        /// Where it listens.
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: std::net::SocketAddr,
    },
    /// Print what the other nodes must know about a node: lines for their config files.
    Key {
        /// The config file of the node; without it, node.toml in the folder of --data.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SpawnWords {
    /// Of which kind.
    pub(crate) kind: String,
    /// The file with its definition, which a statechart must have.
    #[arg(long, value_name = "FILE", conflicts_with = "module")]
    pub(crate) definition: Option<PathBuf>,
    /// The file with its WebAssembly module, which an isolate must have.
    #[arg(long, value_name = "FILE")]
    pub(crate) module: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) isolate: IsolateWords,
    #[command(flatten)]
    pub(crate) birth: BirthWords,
}

/// What an isolate may use.
#[derive(Args, Debug, Default)]
pub(crate) struct IsolateWords {
    /// Bytes that each memory of an isolate may grow to, such as 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = byte_count, requires = "module")]
    pub(crate) memory_max: Option<u64>,
    /// How often code of an isolate may look whether it should stop in one turn; then the turn is
    /// given up.
    #[arg(long, value_name = "NUMBER", requires = "module")]
    pub(crate) looks_max: Option<u64>,
    /// Give one NaN only, so that results are the same on every processor; costs time.
    #[arg(long, requires = "module")]
    pub(crate) canonical_nan: bool,
    /// How much of a node's threads an isolate is given while others want them too.
    #[arg(long, value_enum, default_value = "normal")]
    pub(crate) priority: PriorityWord,
    /// No node takes the isolate to share out the work: it stays until somebody moves it.
    #[arg(long, requires = "module")]
    pub(crate) pinned: bool,
}

/// A priority, as it is said.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
pub(crate) enum PriorityWord {
    Low,
    #[default]
    Normal,
    High,
}

impl From<PriorityWord> for Priority {
    fn from(word: PriorityWord) -> Self {
        match word {
            PriorityWord::Low => Self::Low,
            PriorityWord::Normal => Self::Normal,
            PriorityWord::High => Self::High,
        }
    }
}

/// What a new daemon is given.
#[derive(Args, Debug)]
pub(crate) struct BirthWords {
    /// The file with the seed of its key; a new one is written if there is none.
    #[arg(long, value_name = "FILE")]
    pub(crate) seed_file: Option<PathBuf>,
    /// What it is called at this node.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep it in memory alone: faster, and gone with its node.
    #[arg(long)]
    pub(crate) volatile: bool,
}

#[derive(Args, Debug)]
struct SendWords {
    /// To which daemon.
    daemon: String,
    /// What; several words are joined with spaces.
    #[arg(required_unless_present = "lines", conflicts_with = "lines")]
    payload: Vec<OsString>,
    /// Each line of this file is an event; - is the standard input.
    #[arg(long, value_name = "FILE")]
    lines: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct MigrateWords {
    /// Which daemon.
    daemon: String,
    /// Where to; without it, to the node that suits it best. Says why, and why not to the others.
    #[arg(long, value_name = "NODE")]
    to: Option<String>,
    /// Show how it goes.
    #[arg(long)]
    watch: bool,
    /// Leave the daemon's key behind: the target was given it.
    #[arg(long)]
    no_identity: bool,
    /// Freeze first and copy then, for daemons that do not replay.
    #[arg(long)]
    freeze_and_copy: bool,
    /// A plan for the gate of the target: what becomes of what has no place there.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Rules whose safe way is agreed to.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    consent: Vec<String>,
    /// Say in JSON how it ended.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SnapshotWords {
    /// Write the state of a daemon into a new file.
    Export {
        /// Which daemon.
        daemon: String,
        /// Which file.
        file: PathBuf,
    },
    /// Bear a daemon from a file; it needs the seed file of the daemon that was exported. One that lives or lived
    /// elsewhere is not born again; when its node is lost it is brought back by --revive.
    Import {
        /// Which file.
        file: PathBuf,
        /// Of which kind, if not the one that the file names.
        #[arg(long)]
        kind: Option<String>,
        /// Its node is lost for good, with its disk: go on here from the file, in a new epoch.
        #[arg(long)]
        revive: bool,
        /// What it took in since the file was written is lost.
        #[arg(long, requires = "revive")]
        accept_loss: bool,
        #[command(flatten)]
        birth: BirthWords,
    },
}

impl Place {
    /// The admin socket.
    pub(crate) fn socket(&self) -> Result<PathBuf> {
        if let Some(socket) = &self.node {
            return Ok(socket.clone());
        }
        Ok(self.folder()?.join(SOCKET_NAME))
    }

    /// The folder of the node that is asked.
    pub(crate) fn folder_of_node(&self) -> Result<PathBuf> {
        match (&self.node, &self.data) {
            (Some(socket), None) => Ok(socket.parent().unwrap_or(socket).to_owned()),
            (_, _) => self.folder().cloned(),
        }
    }

    /// The file with the token.
    pub(crate) fn token(&self) -> Option<&std::path::Path> {
        self.token.as_deref()
    }

    fn folder(&self) -> Result<&PathBuf> {
        self.data.as_ref().ok_or_else(|| {
            Advice::wrong(
                "it is not said which node is asked",
                "add --data DIR, set WHIMBREL_DATA, or add --node SOCKET",
            )
        })
    }

    fn config(&self, config: Option<PathBuf>) -> Result<PathBuf> {
        match config {
            Some(config) => Ok(config),
            None => Ok(self.folder()?.join(crate::config::CONFIG_FILE)),
        }
    }
}

impl Words {
    /// Does what was said.
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let place = self.place;
        match self.what {
            What::Node(words) => words.run(&place).await?,
            What::Spawn(words) => ask::spawn(&place, words).await?,
            What::Run(words) => return Box::pin(crate::run::run(&place, words)).await,
            What::Attach { daemon } => return crate::run::attach(&place, daemon).await,
            What::Pause { daemon } => return ask::ask(&place, daemon, &["pause".into()]).await,
            What::Resume { daemon } => return ask::ask(&place, daemon, &["resume".into()]).await,
            What::ClusterSim(words) => return Box::pin(crate::cluster_sim::run(words)).await,
            What::Send(SendWords { daemon, payload, lines }) => {
                return match lines {
                    Some(file) => send::lines(&place, daemon, &file).await,
                    None => send::one(&place, daemon, &payload).await,
                };
            }
            What::Ask { daemon, payload } => return ask::ask(&place, daemon, &payload).await,
            What::Ps => ask::daemons(&place).await?,
            What::Nodes => ask::nodes(&place).await?,
            What::Invite { guest, hours } => ask::invite(&place, guest, hours, false).await?,
            What::RotateKey { key } => ask::invite(&place, Some(key), 1, true).await?,
            What::Leave { to } => ask::leave(&place, to).await?,
            What::Expel { member } => ask::expel(&place, member).await?,
            What::Migrate(words) => return words.run(&place).await,
            What::Cancel { daemon } => ask::cancel(&place, daemon).await?,
            What::Events { follow } => ask::events(&place, follow).await?,
            What::Verify { daemon } => ask::verify(&place, daemon).await?,
            What::Forks { daemon } => ask::forks(&place, daemon).await?,
            What::VerifyTrace { file } => trace::verify(&file)?,
            What::Fork { daemon, birth } => ask::fork(&place, daemon, birth).await?,
            What::Snapshot(SnapshotWords::Export { daemon, file }) => {
                ask::export(&place, daemon, &file).await?;
            }
            What::Snapshot(SnapshotWords::Import { file, kind, revive, accept_loss, birth }) => {
                ask::import(&place, &file, kind, birth, (revive, accept_loss)).await?;
            }
            What::Gate(words) => return crate::chart::gate::run(&place, &words).await,
            What::Chart(words) => return crate::chart::run(&place, words).await,
            What::Stop { daemon } => ask::stop(&place, daemon).await?,
            What::Delete { daemon } => ask::delete(&place, daemon).await?,
            What::Reclaim { daemon, accept_loss } => {
                ask::reclaim(&place, daemon, accept_loss).await?;
            }
            What::Publish(words) => crate::channel::publish(&place, words).await?,
            What::Subscribe(words) => crate::channel::subscribe(&place, words).await?,
            What::Unsubscribe { daemon, publisher, channel } => {
                crate::channel::unsubscribe(&place, daemon, publisher, channel).await?;
            }
            What::Dismiss { daemon, subscriber, accept_loss } => {
                crate::channel::dismiss(&place, daemon, subscriber, accept_loss).await?;
            }
            What::Channels { daemon } => crate::channel::list(&place, daemon).await?,
            What::Token(words) => crate::token::run(&place, words).await?,
            What::Audit(words) => return crate::audit::run(&place, &words),
            What::Sim(words) => return sim::run(words),
            What::Demo(words) => return Box::pin(demo::run(words)).await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl NodeWords {
    async fn run(self, place: &Place) -> Result<()> {
        match self.what {
            None => {
                heap::settle();
                let config = place.config(self.config)?;
                let (tethered, anew) = (self.tethered, self.resume_at_start);
                Box::pin(node::run(&config, tethered, self.join.as_deref(), anew)).await
            }
            Some(NodeWhat::Init { folder, name, listen }) => node::init(&folder, &name, listen),
            Some(NodeWhat::Key { config }) => node::key(&place.config(config)?),
        }
    }
}

impl MigrateWords {
    async fn run(self, place: &Place) -> Result<ExitCode> {
        let terms = crate::chart::terms(self.plan.as_deref(), &self.consent)?;
        let ask = whimbrel::runtime::admin::words::Ask::Migrate {
            daemon: self.daemon,
            to: self.to,
            transport_identity: !self.no_identity,
            freeze_and_copy: self.freeze_and_copy,
            watch: self.watch,
            terms,
        };
        crate::watch::migrate(place, ask, self.json).await
    }
}

/// `20`, `20s`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is no time: 20, 20s or 2m"))?;
    match unit {
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        _ => Err(format!("{text:?} is no time: 20, 20s or 2m")),
    }
}

/// `1000`, `64KiB`, `4MiB`, `1GiB`.
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let wrong = || format!("{text:?} is no size: 1000, 64KiB, 4MiB or 1GiB");
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    (&text[..digits], text[digits..].trim())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn said(words: &str) -> Result<Words, clap::Error> {
        Words::try_parse_from(words.split(' '))
    }

    #[test]
    fn the_words_do_not_contradict_each_other() {
        Words::command().debug_assert();
    }

    #[test]
    fn what_the_readme_says_can_be_said() {
        for words in [
            "whimbrel node --config a/node.toml",
            "whimbrel node init a --name a --listen 127.0.0.1:7001",
            "whimbrel node key --config a/node.toml",
            "whimbrel spawn kv --name store --volatile --data a",
            "whimbrel spawn isolate --module m.wasm --memory-max 8MiB --looks-max 1000 --name m",
            "whimbrel fork m --name n",
            "whimbrel run prog.wasm --on b one --two",
            "whimbrel attach m",
            "whimbrel pause m",
            "whimbrel resume m",
            "whimbrel cluster-sim --moves 3 --rounds 9",
            "whimbrel send store put a b",
            "whimbrel send store --lines -",
            "whimbrel ask store get a",
            "whimbrel ps --data a",
            "whimbrel migrate store --to b --watch --no-identity",
            "whimbrel migrate store",
            "whimbrel migrate order --to b --plan plan.json --consent D2,D4 --json",
            "whimbrel gate old.json new.json --live order --plan plan.json",
            "whimbrel gate old.json new.json --fleet",
            "whimbrel invite --hours 2 --guest c0ffee",
            "whimbrel rotate-key c0ffee",
            "whimbrel leave --to west",
            "whimbrel expel west",
            "whimbrel node --config b/node.toml --join whimbrel-invitation-1-00",
            "whimbrel cancel store",
            "whimbrel events --follow",
            "whimbrel verify store",
            "whimbrel forks store",
            "whimbrel verify-trace node.trace",
            "whimbrel snapshot export store file",
            "whimbrel snapshot import file --kind kv --seed-file seed",
            "whimbrel snapshot import file --seed-file seed --revive --accept-loss",
            "whimbrel demo --seconds 5 --rate 100 --state 1MiB --nodes 4",
            "whimbrel demo --file README.md",
            "whimbrel sim --nodes 5 --daemons 1000 --scenario drain.toml --seed 7 --json --trace file",
            "whimbrel sim replay file",
            "whimbrel sim show file --daemon D3",
            "whimbrel token root root.key",
            "whimbrel token mint --root root.key --holder ops --may admin,observe --for 30d --out t",
            "whimbrel token attenuate t --holder ci --may deliver --daemons ab --sealed --out u",
            "whimbrel token inspect t --root ab",
            "whimbrel token revoke t --data a --token t",
            "whimbrel token give ab t --data a",
            "whimbrel token take ab t --data a",
            "whimbrel token held ab --data a",
            "whimbrel audit --since 20s --json --data a",
            "whimbrel audit --verify --data a",
            "whimbrel publish orders news a b --retain 10",
            "whimbrel subscribe store orders news --retained --recent 16",
            "whimbrel unsubscribe store orders news",
            "whimbrel channels store",
            "whimbrel dismiss orders store --accept-loss",
            "whimbrel gate old.json new.json --checkpoint a --plan b --dry-run --json",
            "whimbrel chart simulate a.json --then begin paid=1 +90s",
            "whimbrel chart lint 1.json 2.scxml --json",
            "whimbrel chart render --live order --output order.svg",
            "whimbrel chart diff 1.json 2.json --svg both.svg --checkpoint live.json",
            "whimbrel chart test 1.json 1.cases --move",
            "whimbrel chart export 1.json --output 1.scxml",
            "whimbrel chart versions 1.json 2.json 3.json --direction full --transitive",
        ] {
            assert!(said(words).is_ok(), "{words}: {:?}", said(words).err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            "whimbrel",
            "whimbrel send store",
            "whimbrel send store a --lines b",
            "whimbrel node init a --name a --listen nowhere",
            "whimbrel demo --nodes 1",
            "whimbrel sim",
            "whimbrel sim show file --daemon 3",
            "whimbrel demo --seconds soon",
            "whimbrel demo --state 1XiB",
        ] {
            assert!(said(words).is_err(), "{words}");
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("20"), Ok(Duration::from_secs(20)));
        assert!(duration("x").is_err() && duration("1h").is_err());
        assert_eq!(byte_count("64KiB"), Ok(65_536));
        assert!(byte_count("99999999999GiB").is_err() && byte_count("-1").is_err());
    }
}
