//! Decides how words about channels and messages enter the cluster: where their daemon lives.

use whimbrel_protocol::Input;
use whimbrel_wire::{CausalEvent, ChannelWord, Hearing, Start};

use super::{Action, Cluster, Happening};
use crate::clients::{AUTHOR_HOSTS, Asker};
use crate::scribe::{Act, Line, channel};

impl Cluster {
    /// A host says a word about channels; what becomes of it shows in the ledgers.
    pub(super) fn say_word(&mut self, daemon: usize, word: &ChannelWord) {
        let entity = self.daemons[daemon].entity;
        let Some(node) = self.owner_of(entity) else { return };
        let ticket = self.ticket(Asker::Spawner);
        let event = CausalEvent::unchained(entity.origin_hash(), 0, word.to_payload());
        self.feed(node, entity, Input::Deliver { ticket, event });
    }

    /// A daemon is told to publish.
    pub(super) fn publish(&mut self, daemon: usize) {
        let Some(node) = self.owner_of(self.daemons[daemon].entity) else { return };
        self.callers += 1;
        let (author, number) = (AUTHOR_HOSTS + daemon as u64, self.callers);
        self.deliver_line(node, daemon, Line { author, number, act: Act::Publish });
    }

    /// A daemon opens its channel.
    pub(crate) fn open_channel(&mut self, after: u64, daemon: usize, retained: u32) {
        let word = ChannelWord::Open { channel: channel(), retained };
        self.plan(after, Happening::Act(Action::Word { daemon, word }));
    }

    /// A daemon listens to the channel of another.
    pub(crate) fn join(
        &mut self,
        after: u64,
        daemon: usize,
        publisher: usize,
        hearing: Hearing,
        start: Start,
    ) {
        let (publisher, channel) = (self.daemons[publisher].entity, channel());
        let word = ChannelWord::Join { publisher, channel, hearing, start };
        self.plan(after, Happening::Act(Action::Word { daemon, word }));
    }

    /// A daemon listens no more.
    pub(crate) fn leave(&mut self, after: u64, daemon: usize, publisher: usize) {
        let (publisher, channel) = (self.daemons[publisher].entity, channel());
        let word = ChannelWord::Leave { publisher, channel };
        self.plan(after, Happening::Act(Action::Word { daemon, word }));
    }
}
