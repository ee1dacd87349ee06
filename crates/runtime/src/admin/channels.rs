//! Decides what each request about channels does, in calls of a [`Caller`].

use whimbrel_trust::Act;
use whimbrel_wire::{ChannelName, Hearing, Start};

use super::fault::{AdminFault, Code};
use super::office::{Office, bytes_of};
use super::server::Replies;
use super::words::{Ask, ChannelLine, Done, Part, daemon_text};
use crate::channels::SubscribeOptions;
use crate::trust::Caller;

impl Office {
    /// What has to do with channels.
    pub(super) async fn of_channels(
        &self,
        ask: Ask,
        caller: &Caller,
        replies: &Replies,
    ) -> Result<Done, AdminFault> {
        if let Ask::Open { daemon, channel, retained } = ask {
            let (entity, channel) = (self.daemon(&daemon)?, named(&channel)?);
            self.at_home(entity)?;
            caller.open_channel(entity, channel, retained).await?;
        } else if let Ask::Publish { daemon, channel, payload } = ask {
            let (entity, channel) = (self.daemon(&daemon)?, named(&channel)?);
            self.at_home(entity)?;
            caller.publish(entity, channel, bytes_of(&payload)?).await?;
        } else if let Ask::Subscribe { daemon, publisher, channel, retained, after, recent } = ask {
            let (entity, publisher) = (self.daemon(&daemon)?, self.daemon(&publisher)?);
            self.at_home(entity)?;
            let start = match (after, retained) {
                (Some(number), _) => Start::After(number),
                (None, true) => Start::Retained,
                (None, false) => Start::Next,
            };
            let hearing = recent.map_or(Hearing::All, |window| Hearing::Recent { window });
            let options = SubscribeOptions { hearing, start };
            caller.subscribe_channel(entity, publisher, named(&channel)?, options).await?;
        } else if let Ask::Unsubscribe { daemon, publisher, channel } = ask {
            let (entity, publisher) = (self.daemon(&daemon)?, self.daemon(&publisher)?);
            self.at_home(entity)?;
            caller.unsubscribe_channel(entity, publisher, named(&channel)?).await?;
        } else if let Ask::Dismiss { daemon, subscriber } = ask {
            let (entity, subscriber) = (self.daemon(&daemon)?, self.daemon(&subscriber)?);
            self.at_home(entity)?;
            caller.dismiss_subscriber(entity, subscriber).await?;
        } else if let Ask::Channels { daemon } = ask {
            let entity = self.daemon(&daemon)?;
            caller.may(&Act::observe(Some(entity)))?;
            self.at_home(entity)?;
            for line in self.lines(entity)? {
                replies.part(Part::Channel(line)).await;
            }
        }
        Ok(Done::Nothing)
    }

    fn lines(&self, entity: whimbrel_wire::EntityId) -> Result<Vec<ChannelLine>, AdminFault> {
        let mut lines = Vec::new();
        for channel in self.runtime().publications(entity.origin_hash())? {
            let line = ChannelLine {
                channel: channel.channel.to_string(),
                publishes: true,
                other: None,
                next: Some(channel.next),
                retained: Some(channel.retained as u64),
            };
            if channel.subscribers.is_empty() {
                lines.push(line.clone());
            }
            let to = |other| ChannelLine { other: Some(daemon_text(other)), ..line.clone() };
            lines.extend(channel.subscribers.iter().map(to));
        }
        for heard in self.runtime().subscriptions(entity.origin_hash())? {
            lines.push(ChannelLine {
                channel: heard.channel.to_string(),
                other: Some(daemon_text(&heard.publisher)),
                ..ChannelLine::default()
            });
        }
        Ok(lines)
    }
}

fn named(name: &str) -> Result<ChannelName, AdminFault> {
    ChannelName::new(name).map_err(|error| {
        AdminFault::caller(Code::Malformed, error.to_string(), "choose a shorter, plain name")
    })
}
