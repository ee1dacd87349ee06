//! Decides how channels are opened, published on and listened to from the command line: in the name of daemons
//! that live on the node that is asked.

use std::ffi::OsString;

use anyhow::Result;
use clap::Args;
use whimbrel::runtime::admin::words::{Ask, ChannelLine, Part};

use crate::ask::{payload, put, put_with};
use crate::failure::Advice;
use crate::output::{self, say};
use crate::words::Place;

#[derive(Args, Debug)]
pub(crate) struct PublishWords {
    /// Which daemon publishes.
    daemon: String,
    /// On which channel.
    channel: String,
    /// What; several words are joined with spaces. Without any the channel is only opened.
    payload: Vec<OsString>,
    /// Open the channel first, and keep so many of the last messages for those who come late.
    #[arg(long, value_name = "COUNT")]
    retain: Option<u32>,
}

#[derive(Args, Debug)]
pub(crate) struct SubscribeWords {
    /// Which daemon listens.
    daemon: String,
    /// To which daemon.
    publisher: String,
    /// On which channel.
    channel: String,
    /// Begin with the oldest message that is retained, and not with the next.
    #[arg(long, conflicts_with = "after")]
    retained: bool,
    /// Begin after the message with this number.
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Leave messages out rather than have the publisher wait: so many may be on their way.
    #[arg(long, value_name = "COUNT")]
    recent: Option<u32>,
}

pub(crate) async fn publish(place: &Place, words: PublishWords) -> Result<()> {
    let PublishWords { daemon, channel, payload: said, retain } = words;
    if retain.is_some() || said.is_empty() {
        let retained = retain.unwrap_or(0);
        put(place, Ask::Open { daemon: daemon.clone(), channel: channel.clone(), retained })
            .await?;
        output::complain(&format!("open, {retained} messages are retained"));
    }
    if !said.is_empty() {
        put(place, Ask::Publish { daemon, channel, payload: payload(&said) }).await?;
        output::complain("published");
    }
    Ok(())
}

pub(crate) async fn subscribe(place: &Place, words: SubscribeWords) -> Result<()> {
    let SubscribeWords { daemon, publisher, channel, retained, after, recent } = words;
    put(place, Ask::Subscribe { daemon, publisher, channel, retained, after, recent }).await?;
    output::complain("it listens");
    Ok(())
}

pub(crate) async fn unsubscribe(
    place: &Place,
    daemon: String,
    publisher: String,
    channel: String,
) -> Result<()> {
    put(place, Ask::Unsubscribe { daemon, publisher, channel }).await?;
    output::complain("it listens no more");
    Ok(())
}

pub(crate) async fn dismiss(
    place: &Place,
    daemon: String,
    subscriber: String,
    accept_loss: bool,
) -> Result<()> {
    if !accept_loss {
        return Err(Advice::wrong(
            "what is owed to it is lost, and nothing reaches it from this daemon again",
            "make sure that it is gone for good, then add --accept-loss",
        ));
    }
    put(place, Ask::Dismiss { daemon, subscriber }).await?;
    output::complain("dismissed");
    Ok(())
}

pub(crate) async fn list(place: &Place, daemon: String) -> Result<()> {
    let mut rows = Vec::new();
    let see = |part| {
        if let Part::Channel(line) = part {
            rows.push(row(line));
        }
    };
    put_with(place, Ask::Channels { daemon }, see).await?;
    let head = ["CHANNEL", "IT", "NEXT", "RETAINED", "DAEMON"];
    output::table(&head, &rows).iter().for_each(|line| say(line));
    Ok(())
}

fn row(line: ChannelLine) -> Vec<String> {
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), output::count);
    let what = if line.publishes { "publishes to" } else { "listens to" };
    vec![
        line.channel,
        what.to_owned(),
        number(line.next),
        number(line.retained),
        line.other.unwrap_or_else(|| "nobody".to_owned()),
    ]
}
