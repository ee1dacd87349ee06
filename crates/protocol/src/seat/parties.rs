//! Decides whether a node takes part in an attempt, for whoever wants to know of messages that are nobody's
//! business here. It decides nothing about what such a message does.

use whimbrel_wire::{AttemptId, NodeId, Role};

use super::{Seat, Tenure};

impl Seat {
    /// Whether `from` takes part in this attempt, or did, as far as this node knows. Before the record of
    /// the daemon was read nobody can be told to be a stranger.
    #[must_use]
    pub fn takes_part(&self, from: NodeId, attempt: AttemptId) -> bool {
        let departing = match &self.tenure {
            Tenure::Reading(_) => return true,
            Tenure::Owner(owner) => owner.departure.as_ref().is_some_and(|departure| {
                departure.attempt == attempt
                    && [departure.target, departure.orchestrator].contains(&from)
            }),
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Departed(_) | Tenure::Deleted => false,
        };
        let arriving = self
            .arrivals
            .get(&attempt)
            .is_some_and(|arrival| [arrival.source, arrival.orchestrator].contains(&from));
        let orchestrating = self.orchestrations.values().any(|asked| {
            asked.attempt == attempt
                && (asked.plays_role(from, Role::Source) || asked.plays_role(from, Role::Target))
        });
        let deeds = self.title.deeds().iter();
        let past = deeds
            .filter(|signed| signed.deed.attempt == attempt)
            .any(|signed| [signed.deed.from.node_id(), signed.deed.owner()].contains(&from));
        departing || arriving || orchestrating || past
    }
}
