//! Decides the course of disturbances of the network: one after the other, until it is over.

use std::sync::Arc;

use anyhow::Result;

use crate::net::Net;
use crate::plan::{Disturbance, Spells};
use crate::trial::{Over, Stage};

/// Disturbs until it is over; the network is calm then.
pub(crate) async fn run(stage: Arc<Stage>, mut net: Net, seed: u64, mut over: Over) -> Result<Net> {
    let mut spells = Spells::new(seed, stage.nodes.len());
    while !over.is_over() {
        let spell = spells.next();
        if !net.can(&spell.what) {
            continue;
        }
        over.rest(spell.rest).await;
        if over.is_over() {
            break;
        }
        let seconds = spell.lasts.as_secs_f64();
        stage.board.say(&format!("fault  {} for {seconds:.1} s", words(&stage, &spell.what)));
        let fault = stage.board.begin(spell.what.kind(), spell.what.nodes());
        net.disturb(&spell.what).await?;
        over.rest(spell.lasts).await;
        let dropped = net.calm().await?;
        stage.board.end(fault);
        stage.board.notes().dropped += dropped;
        stage.board.say(&format!("calm   {}, {dropped} packets dropped", spell.what.kind()));
    }
    Ok(net)
}

fn words(stage: &Stage, what: &Disturbance) -> String {
    let name = |node: usize| stage.nodes.all[node].name.as_str();
    match *what {
        Disturbance::Loss { node, percent } => format!("{percent} % lost at {}", name(node)),
        Disturbance::OneWay { from, to } => {
            format!("nothing gets from {} to {}", name(from), name(to))
        }
        Disturbance::Apart { one, other } => {
            format!("{} and {} are cut from each other", name(one), name(other))
        }
        Disturbance::Mute { node } => format!("nothing gets out of {}", name(node)),
        Disturbance::Deaf { node } => format!("nothing gets into {}", name(node)),
        Disturbance::Slow { node, kbit } => format!("{} has a line of {kbit} kbit/s", name(node)),
        Disturbance::Late { node, delay_ms, jitter_ms } => {
            format!(
                "datagrams of {} are {delay_ms} to {} ms late",
                name(node),
                delay_ms + jitter_ms
            )
        }
    }
}
