//! Decides which daemon moves where and who is asked: each daemon again and again, by chance.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use whimbrel::runtime::admin::AdminClientError;
use whimbrel::runtime::admin::words::{Ask, Done};
use whimbrel_trial::Dice;
use whimbrel_trial::steps::Part;

use crate::board::{Move, Outcome, Route};
use crate::nodes::POLL;
use crate::stacks;
use crate::trial::{Over, Stage};

/// How long a move or the search for an owner may take while faults go on.
const MOVE_MAX: Duration = Duration::from_secs(120);

/// The longest rest between two moves of a daemon.
const REST_MILLIS_MAX: u64 = 600;

/// Moves one daemon until the trial is over.
pub(crate) async fn run(stage: Arc<Stage>, daemon: usize, seed: u64, mut over: Over) {
    let mut dice = Dice::new(seed);
    while !over.is_over() {
        match owner(&stage, daemon, MOVE_MAX).await {
            Ok(source) => {
                let route = route(&stage, source, &mut dice);
                make(&stage, daemon, route, MOVE_MAX).await;
            }
            Err(error) => {
                stage.board.hung(format!("{}: {error:#}", stage.daemons[daemon].name));
                stacks::print_all(&stage.nodes);
                return;
            }
        }
        over.rest(Duration::from_millis(dice.between(0, REST_MILLIS_MAX))).await;
    }
}

/// By chance; where a trap is set, so that its node comes to the step.
fn route(stage: &Stage, source: usize, dice: &mut Dice) -> Route {
    let nodes = stage.nodes.len();
    let target = (source + 1 + dice.below(nodes - 1)) % nodes;
    let mut route = Route { source, target, asked: dice.below(nodes) };
    match stage.board.notes().lure {
        Some((node, Part::Target)) if node != source => route.target = node,
        // First there, then away from there.
        Some((node, Part::Source)) if node != source => route.target = node,
        Some((node, Part::Orchestrator)) => route.asked = node,
        Some(_) | None => {}
    }
    route
}

/// Asks for a move and notes how it ended.
pub(crate) async fn make(stage: &Stage, daemon: usize, route: Route, within: Duration) -> Outcome {
    let from = stage.board.now();
    stage.board.notes().under_way.insert(daemon, route);
    let outcome = match tokio::time::timeout(within, ask(stage, daemon, route)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Endless,
    };
    let to = stage.board.now();
    let name = |node: usize| stage.nodes.all[node].name.as_str();
    let what = format!(
        "move   {} {} → {} asked at {}",
        stage.daemons[daemon].name,
        name(route.source),
        name(route.target),
        name(route.asked)
    );
    let took = (to - from).as_secs_f64();
    match &outcome {
        Outcome::Moved => stage.board.say(&format!("{what}: done after {took:.2} s")),
        Outcome::Failed(why) => stage.board.say(&format!("{what}: stayed, {took:.2} s: {why}")),
        Outcome::AskedGone => {
            stage.board.say(&format!("{what}: the node that was asked is gone, {took:.2} s"));
        }
        Outcome::Endless => {
            stage.board.hung(format!("{what}: no end after {took:.2} s"));
            stacks::print_all(&stage.nodes);
        }
    }
    let mut notes = stage.board.notes();
    notes.under_way.remove(&daemon);
    notes.moves.push(Move { route, from, to, outcome: outcome.clone() });
    outcome
}

async fn ask(stage: &Stage, daemon: usize, route: Route) -> Outcome {
    let Ok(mut admin) = stage.nodes.all[route.asked].admin().await else {
        return Outcome::AskedGone;
    };
    let ask = Ask::Migrate {
        daemon: stage.daemons[daemon].id.clone(),
        to: Some(stage.nodes.all[route.target].name.clone()),
        transport_identity: true,
        freeze_and_copy: false,
        watch: false,
        terms: None,
    };
    match admin.ask(ask).await {
        Ok(Done::Moved(_)) => Outcome::Moved,
        Ok(_) => Outcome::Failed("the node answered something else".to_owned()),
        Err(AdminClientError::Refused(fault)) => Outcome::Failed(fault.message),
        Err(_) => Outcome::AskedGone,
    }
}

/// Where a daemon lives: the node that owns it must say so itself.
pub(crate) async fn owner(stage: &Stage, daemon: usize, within: Duration) -> Result<usize> {
    let begun = Instant::now();
    while begun.elapsed() < within {
        for (at, node) in stage.nodes.all.iter().enumerate() {
            // One with a trap runs until it comes to the step.
            let is_trapped = stage.board.notes().lure.is_some_and(|(trapped, _)| trapped == at);
            if node.is_hit() && !is_trapped {
                continue;
            }
            let found = node.ask(Ask::Find { daemon: stage.daemons[daemon].id.clone() });
            if let Ok(Done::Daemon(line)) = found.await
                && line.standing == "live"
                && line.owner_name.as_deref() == Some(node.name.as_str())
            {
                return Ok(at);
            }
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("no node says that it lives there, for {} s", within.as_secs())
}

/// Bears the daemons, one after the other on each node.
pub(crate) async fn spawn(nodes: &crate::nodes::Nodes, at: usize, kind: &str) -> Result<String> {
    let ask =
        Ask::Spawn { kind: kind.to_owned(), birth: Default::default(), given: None, file: None };
    let born = nodes.all[at % nodes.len()].ask(ask).await.context("could not bear a daemon")?;
    let Done::Daemon(line) = born else { bail!("a node answered something else") };
    Ok(line.daemon)
}
