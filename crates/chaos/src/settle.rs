//! Decides what must be so once the faults are over, and within which time.
//!
//! * Every move ends; every event on its way is answered.
//! * Every daemon lives on exactly one node, and nothing of it is unrest anywhere else.
//! * Every daemon can be moved, as soon as attempts whose other nodes died have been given up.
//! * Every chain holds, and the ledger of every client is clean.
//! * Every node ends in order when it is told to; its traces, if it wrote any, hold.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use whimbrel::runtime::admin::words::{Ask, DaemonLine, Done, Part};

use crate::Spoil;
use crate::board::{Outcome, Route};
use crate::client::{Order, SheetLine};
use crate::clients::ClientProcess;
use crate::mover;
use crate::nodes::{Node, POLL};
use crate::stacks;
use crate::trial::Stage;

/// How long everything may take to settle.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// How long it may take in calm until a daemon has moved; no wait of an attempt is longer.
const CALM_MOVE_MAX: Duration = Duration::from_secs(30);

/// The rest before it is tried again.
const CALM_MOVE_REST: Duration = Duration::from_millis(500);

/// How long a node may take to end.
const END_MAX: Duration = Duration::from_secs(60);

/// How long one question may take.
const ASK_MAX: Duration = Duration::from_secs(20);

/// What a daemon is to a node with which it is not at rest.
const RESTLESS: [&str; 5] = ["frozen", "opening", "departed", "reading", "bearing"];

/// What was found out at the end.
#[derive(Default)]
pub(crate) struct Sheets {
    pub(crate) lines: Vec<SheetLine>,
    pub(crate) chains: Vec<String>,
    pub(crate) traces: Vec<String>,
    pub(crate) settled_after: Option<Duration>,
}

/// Waits for the moves that were under way when the faults ended.
pub(crate) async fn last_moves(stage: &Stage, mut movers: JoinSet<()>) {
    let all = async { while movers.join_next().await.is_some() {} };
    if tokio::time::timeout(SETTLE_MAX, all).await.is_err() {
        let under_way = stage.board.notes().under_way.clone();
        for (daemon, route) in under_way {
            let name = stage.daemons[daemon].name;
            stage.board.hung(format!(
                "the move of {name}, {route:?}, had not ended {} s after the last fault",
                SETTLE_MAX.as_secs()
            ));
        }
        stacks::print_all(&stage.nodes);
    }
}

/// Looks at everything; what is wrong is noted as a violation.
pub(crate) async fn judge(
    stage: &Stage,
    clients: &mut [ClientProcess],
    spoil: Option<Spoil>,
) -> Sheets {
    let mut sheets = Sheets::default();
    let begun = Instant::now();
    stop_clients(stage, clients).await;
    if let Err(why) = one_copy_each(stage).await {
        stage.board.hung(why);
        stacks::print_all(&stage.nodes);
        return sheets;
    }
    sheets.settled_after = Some(begun.elapsed());
    stage.board.say("everything has settled; each daemon moves once more");
    for daemon in 0..stage.daemons.len() {
        move_in_calm(stage, daemon).await;
    }
    if let Err(why) = one_copy_each(stage).await {
        stage.board.hung(why);
        stacks::print_all(&stage.nodes);
        return sheets;
    }
    if let Some(how) = spoil.and_then(word)
        && let Err(error) = clients[1].tell(&Order::Spoil(how.to_owned())).await
    {
        stage.board.violation(format!("could not be spoilt: {error:#}"));
    }
    stage.board.say("checking chains and ledgers");
    for daemon in &stage.daemons {
        match verify(stage, &daemon.id).await {
            Ok(said) => sheets.chains.push(format!("{}: {said}", daemon.name)),
            Err(why) => stage.board.violation(format!("the chain of {}: {why}", daemon.name)),
        }
    }
    for client in clients {
        match client.check().await {
            Ok(lines) => sheets.lines.extend(lines),
            Err(error) => stage.board.violation(format!("no ledger: {error:#}")),
        }
    }
    stage.board.say("all nodes are told to end");
    for node in &stage.nodes.all {
        if let Err(error) = node.end(END_MAX).await {
            stage.board.hung(format!("{} was told to end: {error:#}", node.name));
            stacks::print(node);
        }
    }
    for at in 0..stage.nodes.len() {
        for found in stage.nodes.verify_traces(at) {
            match found {
                Ok(said) => sheets.traces.push(said.trim().to_owned()),
                Err(why) => stage.board.violation(format!("a trace: {why:#}")),
            }
        }
    }
    sheets
}

const fn word(spoil: Spoil) -> Option<&'static str> {
    match spoil {
        Spoil::Lose => Some("lose"),
        Spoil::Double => Some("double"),
        Spoil::DoubleTally => Some("double-tally"),
        Spoil::Hang | Spoil::Die => None,
    }
}

async fn stop_clients(stage: &Stage, clients: &mut [ClientProcess]) {
    for client in clients {
        let waiting = client.tell(&Order::Stop).await;
        let why = match waiting {
            Ok(0) => continue,
            Ok(waiting) => format!("{waiting} events of {} are not answered", client.name),
            Err(error) => format!("{error:#}"),
        };
        stage.board.hung(why);
        if let Some(process) = client.process() {
            stacks::print_process(&client.name, process);
        }
    }
}

/// Waits until each daemon lives on one node and rests on all others.
async fn one_copy_each(stage: &Stage) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let unrest = unrest(stage).await;
        if unrest.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > SETTLE_MAX {
            let seconds = SETTLE_MAX.as_secs();
            return Err(format!("not settled after {seconds} s: {}", unrest.join("; ")));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn unrest(stage: &Stage) -> Vec<String> {
    let mut seen = Vec::new();
    let mut unrest = Vec::new();
    for node in &stage.nodes.all {
        match daemons(node).await {
            Some(lines) => seen.push((node, lines)),
            None => unrest.push(format!("{} does not answer", node.name)),
        }
    }
    for daemon in &stage.daemons {
        let lines = seen.iter().flat_map(|(node, lines)| {
            let lines = lines.iter().filter(|line| line.daemon == daemon.id);
            lines.map(|line| (node.name.as_str(), line.standing.as_str()))
        });
        let lines: Vec<_> = lines.collect();
        let live = lines.iter().filter(|(_, standing)| *standing == "live").count();
        if live != 1 || lines.iter().any(|(_, standing)| RESTLESS.contains(standing)) {
            unrest.push(format!("{} is {lines:?}", daemon.name));
        }
    }
    unrest
}

async fn daemons(node: &Node) -> Option<Vec<DaemonLine>> {
    let mut lines = Vec::new();
    let asked = async {
        let see = |part| {
            if let Part::Daemon(line) = part {
                lines.push(line);
            }
        };
        node.admin().await.ok()?.ask_with(Ask::Daemons {}, see).await.ok()
    };
    tokio::time::timeout(ASK_MAX, asked).await.ok().flatten()?;
    Some(lines)
}

/// The source of a move whose target and orchestrator died gives it up when it has heard nothing
/// for a while; until then it refuses another one, and that is right.
async fn move_in_calm(stage: &Stage, daemon: usize) {
    let name = stage.daemons[daemon].name;
    let begun = Instant::now();
    loop {
        let source = match mover::owner(stage, daemon, SETTLE_MAX).await {
            Ok(source) => source,
            Err(error) => return stage.board.hung(format!("{name}: {error:#}")),
        };
        let target = (source + 1) % stage.nodes.len();
        let route = Route { source, target, asked: target };
        match mover::make(stage, daemon, route, CALM_MOVE_MAX).await {
            Outcome::Moved => return,
            Outcome::Failed(_) if begun.elapsed() < CALM_MOVE_MAX => {
                tokio::time::sleep(CALM_MOVE_REST).await;
            }
            outcome @ (Outcome::Failed(_) | Outcome::AskedGone | Outcome::Endless) => {
                let why = format!("{name} could not be moved in calm: {outcome:?}");
                return stage.board.violation(why);
            }
        }
    }
}

async fn verify(stage: &Stage, daemon: &str) -> Result<String, String> {
    for node in &stage.nodes.all {
        let Some(lines) = daemons(node).await else { continue };
        let lives = |line: &DaemonLine| line.daemon == daemon && line.standing == "live";
        if !lines.iter().any(lives) {
            continue;
        }
        return match node.ask(Ask::Verify { daemon: daemon.to_owned() }).await {
            Ok(Done::Verified(verdict)) => {
                let reach = if verdict.complete { "all" } else { "the last" };
                Ok(format!("{} deeds, {reach} {} outputs", verdict.deeds, verdict.links))
            }
            Ok(_) => Err("the node answered something else".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        };
    }
    Err("it lives nowhere".to_owned())
}
