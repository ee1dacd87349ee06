//! Decides how the states of the machines of a seat are named, for whoever counts which were seen.

use super::*;

/// One machine of a seat and the state that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which machine.
    pub machine: &'static str,
    /// Its state.
    pub state: &'static str,
    /// The attempt that it belongs to, if it belongs to one.
    pub attempt: Option<AttemptId>,
}

impl Seat {
    /// Where all machines of this seat are. One that does not exist is in no place.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        let own = [self.tenure_place()].into_iter().chain(self.owner_places());
        let arrivals = self.arrivals.values().map(|arrival| Place {
            machine: "arrival",
            state: arrival.stage_name(),
            attempt: Some(arrival.attempt),
        });
        let orchestrations = self.orchestrations.values().map(|orchestration| Place {
            machine: "orchestration",
            state: orchestration.stage_name(),
            attempt: Some(orchestration.attempt),
        });
        let couriers = self.couriers.values().map(|courier| Place {
            machine: "courier",
            state: courier.state_name(),
            attempt: None,
        });
        own.chain(arrivals).chain(orchestrations).chain(couriers)
    }

    fn tenure_place(&self) -> Place {
        let state = match &self.tenure {
            Tenure::Reading(_) => "Reading",
            Tenure::Stranger => "Stranger",
            Tenure::Bearing(_) => "Bearing",
            Tenure::Owner(_) => "Owner",
            Tenure::Departed(_) => "Departed",
            Tenure::Deleted => "Deleted",
        };
        Place { machine: "seat", state, attempt: None }
    }

    fn owner_places(&self) -> impl Iterator<Item = Place> {
        let owner = match &self.tenure {
            Tenure::Owner(owner) => Some(owner),
            Tenure::Reading(_)
            | Tenure::Stranger
            | Tenure::Bearing(_)
            | Tenure::Departed(_)
            | Tenure::Deleted => None,
        };
        let life =
            owner.map(|owner| Place { machine: "owner", state: owner.life_name(), attempt: None });
        let departure = owner.and_then(|owner| owner.departure.as_ref());
        let departure = departure.map(|departure| Place {
            machine: "departure",
            state: departure.stage_name(),
            attempt: Some(departure.attempt),
        });
        life.into_iter().chain(departure)
    }
}
