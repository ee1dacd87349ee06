//! Decides under which load the simulator's own speed is measured.

use whimbrel_protocol::Settings;

use crate::cluster::{Action, Cluster, Happening, MILLI, SECOND, Tally};
use crate::dice::Dice;
use crate::medium::Medium;
use crate::network::Network;
use crate::scribe::Style;

const NODES: usize = 5;
const DAEMONS: usize = 100;

/// Time between two events of a client: between half of this and twice as much, a tenth of a second
/// in the mean.
const REST: u64 = 80 * MILLI;

/// A cluster of five nodes and a hundred daemons, each of which is sent ten events a second, while
/// they are moved, messages are lost and nodes pause.
pub struct Speed {
    cluster: Cluster,
    dice: Dice,
}

impl Speed {
    /// The cluster with its daemons, before anything is sent.
    #[must_use]
    pub fn prepare() -> Self {
        let mut dice = Dice::new(8);
        let mut cluster = Cluster::new(8, NODES, &Settings::default(), Medium::Memory, false);
        for _ in 0..DAEMONS {
            let node = dice.index(NODES);
            cluster.spawn(node, Style::Replays);
        }
        Self { cluster, dice }
    }

    /// Runs for so many simulated seconds, with a move in each second and a pause in
    /// every ten seconds.
    pub fn run(&mut self, seconds: u64) -> Tally {
        let Self { cluster, dice } = self;
        cluster.network = Network { loss: 10, twice: 10, ..Network::calm() };
        for daemon in 0..DAEMONS {
            let node = dice.index(NODES);
            let events = seconds * 10;
            cluster.add_client(node, daemon, events, 64, REST);
        }
        for _ in 0..seconds {
            let (node, target) = (dice.index(NODES), dice.index(NODES));
            let daemon = dice.index(DAEMONS);
            let action = Action::Move { node, daemon, source: None, target, cancel_after: None };
            cluster.plan(dice.below(seconds * SECOND), Happening::Act(action));
        }
        for _ in 0..seconds / 10 {
            let action = Action::Pause { node: dice.index(NODES), rest: 200 * MILLI };
            cluster.plan(dice.below(seconds * SECOND), Happening::Act(action));
        }
        let end = cluster.now + seconds * SECOND;
        cluster.run_until(end);
        cluster.tally
    }

    /// The promise that was broken, if one was.
    #[must_use]
    pub fn violation(&self) -> Option<&crate::Violation> {
        self.cluster.violation.as_ref()
    }
}
