//! Decides what the short questions ask a node, and how its answers look.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use whimbrel::isolate::daemon::Founding;
use whimbrel::runtime::admin::AdminClient;
use whimbrel::runtime::admin::words::{
    Ask, Birth, DaemonLine, Done, EventLine, NodeLine, Part, Payload, Seed,
};

use crate::config;
use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output::{self, say};
use crate::words::{BirthWords, IsolateWords, Place, SpawnWords};

/// Asks the node and waits for the end.
pub(crate) async fn put(place: &Place, ask: Ask) -> Result<Done> {
    put_with(place, ask, |_| ()).await
}

/// The same, and sees the parts that come before it.
pub(crate) async fn put_with(place: &Place, ask: Ask, see: impl FnMut(Part)) -> Result<Done> {
    let mut client = connect(place).await?;
    Ok(client.ask_with(ask, see).await?)
}

/// A connection to the node that is asked, on which the token is shown if there is one.
pub(crate) async fn connect(place: &Place) -> Result<AdminClient> {
    let mut client = AdminClient::connect(&place.socket()?).await?;
    if let Some(file) = place.token() {
        client.ask(Ask::Present { token: crate::token::text(file)? }).await?;
    }
    Ok(client)
}

pub(crate) async fn spawn(place: &Place, words: SpawnWords) -> Result<()> {
    let SpawnWords { kind, definition, module, isolate, birth: words } = words;
    let Some(module) = module else {
        let given = definition.map(|file| given(&file)).transpose()?;
        let given = given.map(|bytes| Payload::of(&bytes));
        let birth = birth(words, true)?;
        return born(put(place, Ask::Spawn { kind, birth, given, file: None }).await?);
    };
    let daemon = bear(place, &kind, (&founding(&isolate), &module), words).await?;
    say(&daemon);
    Ok(())
}

/// Bears an isolate of the module in a file, binary or text.
pub(crate) async fn bear(
    place: &Place,
    kind: &str,
    (founding, module): (&Founding, &Path),
    words: BirthWords,
) -> Result<String> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Advice::wrong(
            format!("could not read the module {}: {error}", module.display()),
            "name a file with WebAssembly, binary or text",
        )
    };
    let bytes = std::fs::read(module).map_err(|error| unreadable(&error))?;
    let mut given = founding.in_front();
    // A binary is read by the node itself: it may be longer than a line.
    let file = if bytes.starts_with(b"\0asm") {
        Some(std::path::absolute(module).context("could not find the module")?)
    } else {
        given.extend(wat::parse_bytes(&bytes).map_err(|error| unreadable(&error))?.iter());
        None
    };
    let (kind, birth) = (kind.to_owned(), birth(words, true)?);
    let given = Some(Payload::of(&given));
    let Done::Daemon(line) = put(place, Ask::Spawn { kind, birth, given, file }).await? else {
        bail!("the node answered something else")
    };
    Ok(line.daemon)
}

/// What goes in front of the module of an isolate.
pub(crate) fn founding(words: &IsolateWords) -> Founding {
    Founding {
        memory_bytes_max: words.memory_max,
        polls_max: words.looks_max,
        canonical_nan: words.canonical_nan,
        priority: words.priority.into(),
        pinned: words.pinned,
        ..Founding::default()
    }
}

pub(crate) async fn fork(place: &Place, daemon: String, words: BirthWords) -> Result<()> {
    let birth = birth(words, true)?;
    born(put(place, Ask::Fork { daemon, birth }).await?)
}

/// The bytes of a file that the command was told to give.
pub(crate) fn given(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        Advice::wrong(
            format!("could not read {}: {error}", file.display()),
            "name a file that can be read",
        )
    })
}

fn born(done: Done) -> Result<()> {
    let Done::Daemon(line) = done else { bail!("the node answered something else") };
    say(&line.daemon);
    Ok(())
}

fn birth(words: BirthWords, may_write: bool) -> Result<Birth> {
    let BirthWords { seed_file, name, volatile } = words;
    let seed = seed_file.map(|file| seed(&file, may_write)).transpose()?;
    Ok(Birth { seed, name, volatile })
}

fn seed(file: &Path, may_write: bool) -> Result<Seed> {
    if may_write && !file.exists() {
        return config::write_seed(file);
    }
    let key = config::read_key(file)?;
    Ok(Seed::new(&key.seed()))
}

/// The bytes of words from the command line.
pub(crate) fn payload(words: &[OsString]) -> Payload {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    Payload::of(&words.join(&b' '))
}

pub(crate) async fn ask(place: &Place, daemon: String, words: &[OsString]) -> Result<ExitCode> {
    let done = put(place, Ask::Send { daemon, payload: payload(words) }).await?;
    let Done::Answered { outputs, declined } = done else {
        bail!("the node answered something else")
    };
    for bytes in outputs.iter().filter_map(Payload::bytes) {
        output::say_bytes(&bytes);
    }
    Ok(declined.map_or(ExitCode::SUCCESS, |reason| declined_because(&reason)))
}

/// The daemon took the event and would not do what it says.
pub(crate) fn declined_because(reason: &str) -> ExitCode {
    output::complain(&format!("declined: {reason}"));
    output::complain("  next: send what the kind understands; the event counts as taken");
    ExitCode::from(UNSUCCESSFUL)
}

pub(crate) async fn daemons(place: &Place) -> Result<()> {
    let mut rows = Vec::new();
    let see = |part| {
        if let Part::Daemon(line) = part {
            rows.push(daemon_row(line));
        }
    };
    put_with(place, Ask::Daemons {}, see).await?;
    let head = ["DAEMON", "NAME", "KIND", "STANDING", "NODE", "EPOCH", "EVENTS", "HELD", "HOW"];
    output::table(&head, &rows).iter().for_each(|line| say(line));
    Ok(())
}

fn daemon_row(line: DaemonLine) -> Vec<String> {
    let or_dash = |word: Option<String>| word.unwrap_or_else(|| "-".to_owned());
    vec![
        line.daemon.chars().take(16).collect(),
        or_dash(line.name),
        or_dash(line.kind),
        line.standing,
        or_dash(line.owner_name.or(line.owner)),
        or_dash(line.epoch.map(|epoch| epoch.to_string())),
        or_dash(line.position.map(output::count)),
        line.held.to_string(),
        or_dash(line.particulars),
    ]
}

pub(crate) async fn nodes(place: &Place) -> Result<()> {
    let mut rows = Vec::new();
    let see = |part| {
        if let Part::Node(line) = part {
            rows.push(node_row(line));
        }
    };
    put_with(place, Ask::Nodes {}, see).await?;
    let head = [
        "NODE",
        "NAME",
        "STATE",
        "FOR",
        "LINK",
        "ROUND TRIP",
        "DAEMONS",
        "BUSY",
        "MEMORY",
        "TAGS",
        "ADDRESSES",
        "KEY",
    ];
    output::table(&head, &rows).iter().for_each(|line| say(line));
    Ok(())
}

fn node_row(line: NodeLine) -> Vec<String> {
    let link = match (line.own, line.ready, line.connected) {
        (true, true, _) => "this node",
        (true, false, _) => "this node, starting",
        (false, _, true) => "up",
        (false, _, false) => "down",
    };
    let dash = || "-".to_owned();
    let says = line.says.unwrap_or_default();
    vec![
        line.node,
        line.name.unwrap_or_else(dash),
        line.state,
        output::time(line.state_for_us),
        link.to_owned(),
        line.round_trip_us.map_or_else(dash, output::time),
        // What the node itself says counts those that were never heard of here, too.
        says.daemons.max(line.daemons).to_string(),
        says.busy_permille.map_or_else(dash, |busy| format!("{} %", busy / 10)),
        says.memory_free_bytes.map_or_else(dash, output::bytes),
        if says.tags.is_empty() { dash() } else { says.tags.join(" ") },
        line.addresses.join(" "),
        line.key,
    ]
}

/// Prints an invitation.
pub(crate) async fn invite(
    place: &Place,
    guest: Option<String>,
    hours: u64,
    succeeds: bool,
) -> Result<()> {
    let ask = Ask::Invite { guest, seconds: hours * 3_600, succeeds };
    let Done::Invited { invitation } = put(place, ask).await? else {
        bail!("the node answered something else")
    };
    say(&invitation);
    output::complain(&format!(
        "good for {hours} h and one node, which starts with whimbrel node --join INVITATION"
    ));
    if succeeds {
        output::complain("once it has joined: whimbrel leave moves all daemons to it, and leaves");
    }
    Ok(())
}

pub(crate) async fn leave(place: &Place, to: Option<String>) -> Result<()> {
    let Done::Left { unaware } = put(place, Ask::Leave { to }).await? else {
        bail!("the node answered something else")
    };
    output::complain("it has left, and owns nothing: stop it whenever you like");
    if !unaware.is_empty() {
        output::complain(&format!("to be told by the others: {}", unaware.join(", ")));
    }
    Ok(())
}

pub(crate) async fn expel(place: &Place, node: String) -> Result<()> {
    put(place, Ask::Expel { node }).await?;
    output::complain("struck off: it may not talk any more");
    Ok(())
}

pub(crate) async fn cancel(place: &Place, daemon: String) -> Result<()> {
    put(place, Ask::Cancel { daemon }).await?;
    output::complain("given up: it goes on where it was");
    Ok(())
}

pub(crate) async fn reclaim(place: &Place, daemon: String, accept_loss: bool) -> Result<()> {
    if !accept_loss {
        return Err(Advice::wrong(
            "taking it back loses all that the heir took in since the hand-over",
            "make sure that the disk of the heir is lost and the heir is off, then add --accept-loss",
        ));
    }
    if let Done::Daemon(line) = put(place, Ask::Reclaim { daemon }).await? {
        let epoch = line.epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
        output::complain(&format!("taken back from where it was handed over{epoch}"));
    }
    Ok(())
}

pub(crate) async fn events(place: &Place, follow: bool) -> Result<()> {
    let see = |part| {
        if let Part::Event(line) = part {
            say(&event_line(&line));
        }
    };
    put_with(place, Ask::Events { follow }, see).await?;
    Ok(())
}

fn event_line(line: &EventLine) -> String {
    let seconds = line.at_us / 1_000_000;
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours:02}:{minutes:02}:{:02}", seconds % 60);
    let daemon: String = line.daemon.chars().take(8).collect();
    format!("{clock}.{:06}Z  {daemon}  {:<12} {}", line.at_us % 1_000_000, line.event, line.detail)
}

pub(crate) async fn verify(place: &Place, daemon: String) -> Result<()> {
    let Done::Verified(verdict) = put(place, Ask::Verify { daemon }).await? else {
        bail!("the node answered something else")
    };
    let reach = if verdict.complete {
        "all since its birth".to_owned()
    } else {
        format!("the last of {}", output::count(verdict.sequence))
    };
    say(&format!(
        "the chain holds: {} deeds up to epoch {}, {} outputs followed, {reach}",
        verdict.deeds,
        verdict.epoch,
        output::count(verdict.links),
    ));
    if verdict.forks > 0 {
        say(&format!("taken back {} times from an older state: see whimbrel forks", verdict.forks));
    }
    Ok(())
}

pub(crate) async fn forks(place: &Place, daemon: String) -> Result<()> {
    let mut lines = Vec::new();
    let see = |part| {
        if let Part::Fork(line) = part {
            let from = if line.by.is_empty() {
                "a snapshot".to_owned()
            } else {
                format!("what {} gave away", line.by)
            };
            lines.push(format!(
                "epoch {} goes on from position {} of {from}; what {} took in during epoch {} is lost",
                line.epoch, line.position, line.loser, line.lost
            ));
        }
    };
    put_with(place, Ask::Forks { daemon }, see).await?;
    if lines.is_empty() {
        lines.push(
            "it was never taken back from an older state, as far as this node knows".to_owned(),
        );
    }
    lines.iter().for_each(|line| say(line));
    Ok(())
}

pub(crate) async fn export(place: &Place, daemon: String, file: &Path) -> Result<()> {
    let file = std::path::absolute(file).context("could not find the folder")?;
    let ask = Ask::Export { daemon, file: file.clone() };
    let Done::Exported { bytes } = put(place, ask).await? else {
        bail!("the node answered something else")
    };
    output::complain(&format!("wrote {} to {}", output::bytes(bytes), file.display()));
    Ok(())
}

pub(crate) async fn import(
    place: &Place,
    file: &Path,
    kind: Option<String>,
    words: BirthWords,
    (revive, accept_loss): (bool, bool),
) -> Result<()> {
    if revive && !accept_loss {
        return Err(Advice::wrong(
            "bringing it back loses all that it took in since the snapshot",
            "make sure that its node is lost for good, then add --accept-loss",
        ));
    }
    if words.seed_file.is_none() {
        return Err(Advice::wrong(
            "a snapshot holds the state of a daemon and not its key",
            "add --seed-file FILE, the one that the daemon was spawned with",
        ));
    }
    let file = std::path::absolute(file).context("could not find the folder")?;
    let birth = birth(words, false)?;
    born(put(place, Ask::Import { file, kind, birth, revive }).await?)
}

pub(crate) async fn stop(place: &Place, daemon: String) -> Result<()> {
    put(place, Ask::Stop { daemon }).await?;
    output::complain("stopped; it stays on the disk");
    Ok(())
}

pub(crate) async fn delete(place: &Place, daemon: String) -> Result<()> {
    put(place, Ask::Delete { daemon }).await?;
    output::complain("deleted");
    Ok(())
}
