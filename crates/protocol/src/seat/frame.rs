//! Decides how a seat is put into another frame of reference: whoever compares the states of seats,
//! as a model checker does, wants two to be equal that will do the same from here on.
//!
//! Nothing here changes what a seat will do. Clocks that started at different moments, tickets that
//! were given earlier and figures for people make no difference to any decision.

use super::*;
use crate::port::{Moment, SaveTicket};

impl Seat {
    /// Shows every moment that the seat remembers, to be told by another clock.
    pub fn moments(&mut self, see: &mut dyn FnMut(Moment<'_>)) {
        match &mut self.tenure {
            Tenure::Reading(retry) => see(Moment::Due(retry)),
            Tenure::Owner(owner) => owner.moments(see),
            Tenure::Departed(departed) => {
                see(Moment::Due(&mut departed.resend_at));
                departed
                    .reclaiming
                    .iter_mut()
                    .for_each(|reclaiming| see(Moment::Due(&mut reclaiming.until)));
                departed.departure.moments(see);
            }
            Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => {}
        }
        self.arrivals.values_mut().for_each(|arrival| arrival.moments(see));
        self.orchestrations.values_mut().for_each(|move_| move_.moments(see));
        self.couriers.values_mut().for_each(|courier| courier.moments(see));
        self.litter.values_mut().for_each(|at| see(Moment::Due(at)));
    }

    /// Numbers the saves anew that the driver has yet to report: 0, 1, … in this order. The driver
    /// reports them under these numbers.
    pub fn renumber_saves(&mut self, pending: &[SaveTicket]) {
        self.saves.renumber(pending);
    }

    /// Forgets the figures that only people look at.
    pub fn forget_figures(&mut self) {
        match &mut self.tenure {
            Tenure::Owner(owner) => {
                owner.departure.iter_mut().for_each(Departure::forget_figures);
            }
            Tenure::Departed(departed) => departed.departure.forget_figures(),
            Tenure::Reading(_) | Tenure::Stranger | Tenure::Bearing(_) | Tenure::Deleted => {}
        }
        self.orchestrations.values_mut().for_each(|move_| move_.progress = None);
    }
}
