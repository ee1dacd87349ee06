//! Decides how running statecharts are asked for their checkpoints, by way of a node.

use anyhow::{Result, bail};
use whimbrel::Statechart;
use whimbrel::runtime::admin::words::{Ask, Done, Part, Payload};
use whimbrel_statechart::Checkpoint;

use crate::ask::{put, put_with};
use crate::failure::Advice;
use crate::words::Place;

/// The checkpoint of one daemon. It is asked by an event like any other, wherever it lives.
pub(super) async fn checkpoint(place: &Place, daemon: &str) -> Result<Checkpoint> {
    let payload = Payload::of(b"?checkpoint");
    let done = put(place, Ask::Send { daemon: daemon.to_owned(), payload }).await?;
    let Done::Answered { outputs, declined } = done else {
        bail!("the node answered something else")
    };
    if let Some(reason) = declined {
        let next = "take a snapshot out with whimbrel snapshot export, if it is too long";
        return Err(Advice::failed(format!("{daemon} gives no checkpoint: {reason}"), next));
    }
    let text = outputs.first().and_then(Payload::bytes).unwrap_or_default();
    let read = Checkpoint::from_json(&String::from_utf8_lossy(&text));
    let wrong = |error| {
        let message = format!("{daemon} answers with what is no checkpoint: {error}");
        Advice::failed(message, "name a daemon of the kind statechart")
    };
    read.map_err(wrong)
}

/// All that live on the node and are of the definition with this digest, by their names.
pub(super) async fn of_definition(place: &Place, old: &str) -> Result<Vec<(String, Checkpoint)>> {
    let mut names = Vec::new();
    let see = |part| {
        if let Part::Daemon(line) = part
            && line.kind.as_deref() == Some(Statechart::NAME)
            && line.standing == "live"
        {
            names.push(line.name.unwrap_or(line.daemon));
        }
    };
    put_with(place, Ask::Daemons {}, see).await?;
    let mut found = Vec::new();
    for name in names {
        let checkpoint = checkpoint(place, &name).await?;
        if checkpoint.definition.digest() == old {
            found.push((name, checkpoint));
        }
    }
    Ok(found)
}
