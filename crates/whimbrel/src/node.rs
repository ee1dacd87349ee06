//! Decides how a node starts, what it says, and how it ends.
//!
//! A node ends on SIGTERM, on ctrl-c and, if tethered, when its standard input ends: it finishes its
//! turns, commits, and says what it left on the disk. A second signal ends it at once; what was
//! acknowledged is on the disk then too.

use std::fs;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use whimbrel::isolate::daemon::{Isolate, Library};
use whimbrel::runtime::admin::AdminServer;
use whimbrel::{
    DaemonRuntime, DaemonStatus, Mesh, MeshConfig, MeshDaemon, Nursery, Palette, Standing,
    Statechart, native_kinds,
};

use crate::config::{self, CONFIG_FILE, KEY_FILE, NodeConfig};
use crate::failure::Advice;
use crate::output;

/// Where the daemons are, in the folder of the node.
const STORE_FOLDER: &str = "store";

/// Who has joined and left, in the folder of the node.
const ROSTER_FILE: &str = "members";

/// Makes a folder with a new key and a config file.
pub(crate) fn init(folder: &Path, name: &str, listen: SocketAddr) -> Result<()> {
    make_folder(folder)?;
    let file = folder.join(CONFIG_FILE);
    let node = NodeConfig {
        name: name.to_owned(),
        data: ".".into(),
        key: KEY_FILE.into(),
        listen,
        addresses: Vec::new(),
        mesh: None,
        inviters: Vec::new(),
        workers: None,
        tags: Default::default(),
        trace: None,
        memory_bytes: None,
        hosts: None,
        trust_roots: Vec::new(),
        open_channels: Vec::new(),
        statecharts: Vec::new(),
        statecharts_closed: false,
        isolates: Default::default(),
        members: Vec::new(),
        settings: Default::default(),
    };
    let text = toml::to_string(&node).context("could not write the config")?;
    config::write_seed(&folder.join(KEY_FILE))?;
    config::write_new(&file, text.as_bytes(), 0o644)?;
    output::complain(&format!("made {}", file.display()));
    output::complain(
        "paste these lines into the config files of the other nodes, and theirs here:",
    );
    key(&file)
}

/// Prints what other nodes must know about the node of this config file.
pub(crate) fn key(file: &Path) -> Result<()> {
    let node = NodeConfig::read(file)?;
    let public = config::read_key(&node.key)?.public();
    let name = toml::Value::String(node.name);
    output::say("[[members]]");
    output::say(&format!("name = {name}"));
    output::say(&format!("key = \"{public}\""));
    output::say(&format!("addresses = [\"{}\"]", node.listen));
    Ok(())
}

fn make_folder(folder: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        Advice::wrong(
            format!("could not make the folder {}: {error}", folder.display()),
            "name a folder that can be written",
        )
    })
}

/// Runs the node of this config file until it is told to end.
pub(crate) async fn run(
    file: &Path,
    tethered: bool,
    invitation: Option<&str>,
    resume_at_start: bool,
) -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::INFO)
        .init();
    let node = NodeConfig::read(file)?;
    let key = config::read_key(&node.key)?;
    let names = node.names(key.node_id())?;
    make_folder(&node.data)?;
    let mut signals = Signals::new(tethered)?;
    if let Some(invitation) = invitation {
        join(&node, &key, invitation).await?;
    }

    let mesh = Mesh::open(mesh_config(&node, key)?).await.map_err(|error| {
        Advice::failed(
            format!("the node {:?} could not start: {:#}", node.name, anyhow::Error::from(error)),
            format!(
                "see whether {} is free and {} is in no other use",
                node.listen,
                node.data.display()
            ),
        )
    })?;
    let runtime = DaemonRuntime::new(Arc::clone(&mesh));
    let palette = register_kinds(&runtime, &node, resume_at_start)?;
    let by_name = names.iter().map(|(id, name)| (name.clone(), *id)).collect();
    runtime.start().await.context("the node could not start its daemons")?;
    tokio::spawn(Nursery::new(runtime.clone(), palette, by_name).run());
    let admin = AdminServer::open(runtime.clone(), &node.data, names).map_err(|error| {
        Advice::failed(
            format!("{:#}", anyhow::Error::from(error)),
            "a shorter path for the data folder may help: the system allows about 100 letters",
        )
    })?;
    output::complain(&format!(
        "{} is {} on {}, {} daemons, {}",
        node.name,
        mesh.node_id(),
        mesh.local_address(),
        runtime.daemon_count(),
        admin.socket().display()
    ));

    let why = signals.wait().await;
    output::complain(&format!("{why}: finishing turns (once more to end at once)"));
    admin.close();
    // Kinds are known of daemons in memory.
    let before = runtime.daemons();
    tokio::select! {
        ended = runtime.shutdown() => ended.context("the node could not finish its turns")?,
        why = signals.wait() => {
            return Err(Advice::failed(
                format!("{why} again: ended at once"),
                "start the node again: what was acknowledged is on the disk",
            ));
        }
    }
    for line in what_is_left(&runtime, &before) {
        output::complain(&line);
    }
    Ok(())
}

/// What this node can host: all kinds that are built in.
fn register_kinds(
    runtime: &DaemonRuntime,
    node: &NodeConfig,
    resume_at_start: bool,
) -> Result<Arc<Palette>> {
    for (kind, factory) in native_kinds() {
        runtime.register_factory(kind, factory)?;
    }
    let palette = Arc::new(node.palette()?);
    let own = Arc::clone(&palette);
    let statechart = move || -> Box<dyn MeshDaemon> { Box::new(Statechart::new(Arc::clone(&own))) };
    runtime.register_factory(Statechart::NAME, statechart)?;
    let mut library = Library::new(node.isolates.policy());
    if resume_at_start {
        library = library.letting_arrivals_begin_anew();
    }
    let library = Arc::new(library);
    runtime.register_bodies(Isolate::NAME, move || Isolate::boxed(&library))?;
    Ok(palette)
}

/// Joins a mesh, once: a node that has joined goes on from what it was told then.
async fn join(node: &NodeConfig, key: &whimbrel::NodeKey, invitation: &str) -> Result<()> {
    let config = mesh_config(node, key.clone())?;
    let Some(file) = config.roster.clone().filter(|file| !file.exists()) else {
        output::complain("it has joined before: the invitation is not used");
        return Ok(());
    };
    let mut guest = config.roster();
    if guest.addresses.is_empty() {
        guest.addresses = vec![node.listen];
    }
    whimbrel::join(guest, invitation, &file).await.map_err(|error| {
        Advice::failed(
            format!("could not join: {:#}", anyhow::Error::from(error)),
            "see whether the host runs and can be reached; else ask for another invitation",
        )
    })
}

fn mesh_config(node: &NodeConfig, key: whimbrel::NodeKey) -> Result<MeshConfig> {
    let mut config = MeshConfig::new(key, node.listen);
    config.members = node.members()?;
    config.data = Some(node.data.join(STORE_FOLDER));
    config.settings = node.settings()?;
    config.name.clone_from(&node.name);
    config.addresses.clone_from(&node.addresses);
    config.mesh = node.mesh_id()?;
    config.inviters = node.inviters(config.key.public())?;
    config.names = node.names(config.key.node_id())?;
    config.roster = Some(node.data.join(ROSTER_FILE));
    config.tags = node.tags.clone();
    config.trace.clone_from(&node.trace);
    config.trust = node.trust()?;
    config.memory_bytes = node.memory_bytes.unwrap_or(config.memory_bytes);
    config.heavy_workers = node.isolates.workers.unwrap_or(config.heavy_workers);
    config.work_per_second = node.isolates.looks_per_second;
    config.steals = node.isolates.steals;
    config.hosts = node.hosts.unwrap_or(config.hosts);
    if let Some(workers) = node.workers {
        config.workers = workers.max(1);
    }
    Ok(config)
}

fn what_is_left(runtime: &DaemonRuntime, before: &[DaemonStatus]) -> Vec<String> {
    let own = runtime.mesh().node_id();
    let all = runtime.daemons();
    let here: Vec<_> = all.iter().filter(|status| status.owner == Some(own)).collect();
    let mut lines = vec![format!("ended; {} daemons are left on the disk", here.len())];
    for status in here {
        let kind = before.iter().find(|known| known.entity == status.entity);
        let kind = kind.and_then(|known| known.kind.as_ref());
        let kind = kind.map(|kind| format!(" {kind}")).unwrap_or_default();
        let at = status.head.map(|head| format!(" at {}", head.position)).unwrap_or_default();
        let parked = match &status.standing {
            Standing::Parked(reason) => format!(", parked: {reason}"),
            Standing::Reading
            | Standing::Stranger
            | Standing::Bearing
            | Standing::Opening
            | Standing::Live
            | Standing::Frozen
            | Standing::Stopped
            | Standing::Departed
            | Standing::Deleted => String::new(),
            _ => String::new(),
        };
        lines.push(format!("  {}{kind}{at}{parked}", status.entity));
    }
    let unsure = all.iter().filter(|status| status.standing == Standing::Departed).count();
    if unsure > 0 {
        lines.push(format!("  {unsure} were handed over; the new owners have not said so yet"));
    }
    lines
}

/// What ends a node.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    tether: Option<tokio::io::Stdin>,
}

impl Signals {
    fn new(tethered: bool) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("no signals")?,
            interrupt: signal(SignalKind::interrupt()).context("no signals")?,
            tether: tethered.then(tokio::io::stdin),
        })
    }

    async fn wait(&mut self) -> &'static str {
        let tether = async {
            match &mut self.tether {
                Some(stdin) => {
                    let mut bytes = [0; 64];
                    while stdin.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
                }
                None => std::future::pending().await,
            }
        };
        let why = tokio::select! {
            _ = self.terminate.recv() => "told to end",
            _ = self.interrupt.recv() => "interrupted",
            () = tether => "the tether is cut",
        };
        if why == "the tether is cut" {
            self.tether = None;
        }
        why
    }
}
