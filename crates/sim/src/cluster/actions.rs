//! Decides how births, events, moves and faults enter the cluster.

use std::sync::Arc;

use whimbrel_daemon::Host;
use whimbrel_protocol::{Input, MoveOptions, Standing, Ticket};
use whimbrel_wire::{
    AttemptId, CausalEvent, ClientId, Deed, Digest, EntityId, Identity, Ledger, StoreId, Time,
    Write,
};

use super::{Action, Cluster, Daemon, Happening, MILLI, Node};
use crate::chart::{Version, plan};
use crate::checkers::Observed;
use crate::clients::{AUTHOR_HOSTS, Asker, Client};
use crate::cluster::node::OFFSET_MAX;
use crate::kinds::Shown;
use crate::medium::Medium;
use crate::scribe::{AUTHOR_DAEMONS, Act, Line, Style};

impl Cluster {
    /// A daemon is born on a node.
    pub(crate) fn spawn(&mut self, node: usize, style: Style) -> usize {
        let author = AUTHOR_DAEMONS + self.daemons.len() as u64;
        let (charts, version) = (Arc::clone(&self.nodes[node].charts), self.nodes[node].chart);
        self.bear(node, style, |entity, seed, birth| {
            let body = style.body(author, &charts);
            let mut host = Host::born(entity, style.kind(), body, seed, birth);
            if style == Style::Chart {
                let definition = version.unwrap_or(Version::First).text();
                host.found(Some(definition.as_bytes())).expect("the definition is ours");
            }
            host
        })
    }

    /// A daemon is born on a node, with the host that `make` builds for it.
    pub(super) fn bear(
        &mut self,
        node: usize,
        style: Style,
        make: impl FnOnce(EntityId, [u8; 32], &Digest) -> Host,
    ) -> usize {
        let index = self.daemons.len();
        let Some((entity, spawn)) = self.conceive(node, style, make) else { return index };
        // The seat has to have read its record first.
        self.feed(node, entity, Input::Woke);
        self.run_until(self.now + 50 * MILLI);
        self.feed(node, entity, spawn);
        self.run_until(self.now + 50 * MILLI);
        index
    }

    /// Daemons are born together; scribes with states of so many bytes.
    pub(crate) fn spawn_all(&mut self, births: &[(usize, Style, u64)]) {
        let mut spawns = Vec::new();
        for (node, style, bytes) in births {
            let author = AUTHOR_DAEMONS + self.daemons.len() as u64;
            let conceived = self.conceive(*node, *style, |entity, seed, birth| {
                Host::born(entity, style.kind(), style.body_of(author, *bytes), seed, birth)
            });
            let Some((entity, spawn)) = conceived else { return };
            self.feed(*node, entity, Input::Woke);
            spawns.push((*node, entity, spawn));
        }
        self.run_until(self.now + 50 * MILLI);
        for (node, entity, spawn) in spawns {
            self.feed(node, entity, spawn);
        }
        self.run_until(self.now + 100 * MILLI);
    }

    /// The host of a daemon that is to be born, and what its seat is told.
    fn conceive(
        &mut self,
        node: usize,
        style: Style,
        make: impl FnOnce(EntityId, [u8; 32], &Digest) -> Host,
    ) -> Option<(EntityId, Input)> {
        let identity = Identity::from_seed(&self.dice.seed());
        let entity = identity.entity_id();
        let (attempt, seed) = (AttemptId::new(self.dice.wide()), self.dice.seed());
        let place = &mut self.nodes[node];
        let station = &place.station;
        let birth = Deed::birth(&identity, station.public(), station.store(), attempt);
        let mut host = make(entity, seed, &birth.digest());
        let (head, catch_up, next_timer) = (host.head(), host.catch_up(), host.next_timer());
        let mut sink = super::perform::Shelf(place.disk.files.chunks.clone());
        let parts = host.capture().ok().and_then(|capture| capture.write(&mut sink).ok());
        let manifest = parts.and_then(|parts| parts.manifest(Ledger::default(), &mut sink).ok());
        let Some(manifest) = manifest else {
            self.broken(("same-meaning", "a newborn could not be captured".to_owned()));
            return None;
        };
        let shown = style.shown(&mut host);
        let pages = shown.as_ref().and_then(Shown::pages);
        let lines = pages.map(|pages| pages.lines.clone()).unwrap_or_default();
        place.hosts.insert(entity, attempt, host);
        place.keys.insert(entity, attempt);
        self.daemons.push(Daemon { entity, style });
        self.styles.insert(entity, style);
        self.see(&Observed::Born { entity, head, style, lines });
        let ticket = self.ticket(Asker::Spawner);
        let wall = Time::from_nanos(self.wall);
        let (birth, manifest) = (Box::new(birth), Box::new(manifest));
        Some((entity, Input::Spawn { ticket, birth, manifest, wall, catch_up, next_timer }))
    }

    pub(super) fn ticket(&mut self, asker: Asker) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.tickets.insert(ticket, asker);
        ticket
    }

    /// A client begins to send `count` events.
    pub(crate) fn add_client(
        &mut self,
        node: usize,
        daemon: usize,
        count: u64,
        window: usize,
        rest: u64,
    ) -> usize {
        let index = self.clients.len();
        let client = Client {
            id: ClientId::new(self.dice.wide()),
            author: index as u64 + 1,
            node,
            life: self.nodes[node].life,
            entity: self.daemons[daemon].entity,
            next: 1,
            left: count,
            under_way: std::collections::BTreeMap::new(),
            window,
            waits: false,
            rest,
            taken: 0,
        };
        self.clients.push(client);
        self.plan(rest, Happening::Act(Action::ClientSends(index)));
        index
    }

    fn client_sends(&mut self, index: usize) {
        let client = &self.clients[index];
        if !self.is_alive(client) {
            return;
        }
        let (entity, node, rest) = (client.entity, client.node, client.rest);
        if client.under_way.len() >= client.window {
            self.clients[index].waits = true;
            return;
        }
        if client.left > 0 {
            let (author, number, id) = (client.author, client.next, client.id);
            let act = self.draw_act(entity);
            let style = self.style_of(entity);
            let payload = style.payload(&Line { author, number, act });
            let ticket = self.ticket(Asker::Client(index));
            let client = &mut self.clients[index];
            client.next += 1;
            client.left -= 1;
            client.under_way.insert(ticket, number);
            self.tally.events += 1;
            if let Some(onlooker) = &mut self.onlooker {
                onlooker.sent(self.now, ticket);
            }
            self.see(&Observed::Offered { entity, author, number });
            self.feed(node, entity, Input::Send { ticket, client: id, payload });
        }
        if self.clients[index].left > 0 {
            self.client_rests(index, rest);
        }
    }

    /// A client sends again after about so long.
    fn client_rests(&mut self, index: usize, rest: u64) {
        let rest = self.dice.between(rest / 2, rest * 2);
        self.plan(rest, Happening::Act(Action::ClientSends(index)));
    }

    /// A client was told of an event: if its window was full, it goes on.
    pub(super) fn client_has_room(&mut self, index: usize) {
        let client = &mut self.clients[index];
        if std::mem::take(&mut client.waits) {
            let rest = client.rest;
            self.client_rests(index, rest);
        }
    }

    /// The style of a daemon that was born here.
    fn style_of(&self, entity: EntityId) -> Style {
        self.styles.get(&entity).copied().unwrap_or(Style::Replays)
    }

    fn draw_act(&mut self, entity: EntityId) -> Act {
        if self.plain {
            return Act::Note;
        }
        if self.fill_max > 0 && self.dice.chance(150) {
            return Act::Fill(
                u32::try_from(self.dice.between(1, self.fill_max.into())).unwrap_or(1),
            );
        }
        match self.dice.below(40) {
            0 => Act::Decline,
            1 if self.panics && self.dice.chance(200) => Act::Panic,
            2 | 3 => Act::Random,
            4 | 5 => Act::Timer(self.dice.between(1, 800) * MILLI),
            6..=10 if self.sends && self.daemons.len() > 1 => {
                let to = self.dice.index(self.daemons.len());
                let Daemon { entity: to, style } = self.daemons[to];
                let charts = style == Style::Chart && self.style_of(entity) == Style::Chart;
                let understands = style.is_scribe() || charts;
                if to == entity || !understands { Act::Note } else { Act::Send(to) }
            }
            _ => Act::Note,
        }
    }

    fn deliver(&mut self, node: usize, daemon: usize) {
        self.callers += 1;
        let (author, number) = (AUTHOR_HOSTS + daemon as u64, self.callers);
        self.deliver_line(node, daemon, Line { author, number, act: Act::Note });
    }

    /// Delivers an event at a node, as its host would.
    pub(crate) fn deliver_line(&mut self, node: usize, daemon: usize, line: Line) {
        if !self.nodes[node].up {
            return;
        }
        let entity = self.daemons[daemon].entity;
        let (author, number) = (line.author, line.number);
        let payload = self.daemons[daemon].style.payload(&line);
        let event = CausalEvent::unchained(entity.origin_hash(), 0, payload);
        let life = self.nodes[node].life;
        let ticket = self.ticket(Asker::Caller { node, life, entity, author, number });
        self.tally.events += 1;
        self.see(&Observed::Offered { entity, author, number });
        // Some disks answer at once.
        if !self.dice.chance(500) || !self.deliver_at_once(node, entity, ticket, &event) {
            self.feed(node, entity, Input::Deliver { ticket, event });
        }
    }

    /// Asks for a move; answers with its attempt.
    pub(crate) fn ask_move(
        &mut self,
        node: usize,
        daemon: usize,
        target: usize,
        options: MoveOptions,
    ) -> AttemptId {
        self.ask_move_from(node, daemon, None, target, options)
    }

    /// Asks for a move from where the caller believes the daemon to be.
    fn ask_move_from(
        &mut self,
        node: usize,
        daemon: usize,
        source: Option<usize>,
        target: usize,
        options: MoveOptions,
    ) -> AttemptId {
        let attempt = AttemptId::new(self.dice.wide());
        let entity = self.daemons[daemon].entity;
        let target = self.nodes[target].id;
        let source = source.map(|source| self.nodes[source].id);
        if self.nodes[node].up {
            self.tally.moves += 1;
            self.see(&Observed::MoveAsked { node, entity, attempt });
            self.feed(node, entity, Input::Move { attempt, source, target, options });
        }
        attempt
    }

    fn draw_options(&mut self, daemon: usize) -> MoveOptions {
        let retry = self.dice.between(0, 10);
        // Whoever asks does not know which version is where: some of the plans do not fit.
        let chart = self.daemons[daemon].style == Style::Chart;
        let terms = (chart && self.dice.chance(400)).then(|| plan(self.dice.chance(700)));
        MoveOptions {
            terms,
            freeze_and_copy: self.dice.chance(150),
            retry_not_ready: (retry > 0).then(|| std::time::Duration::from_secs(retry)),
            ..MoveOptions::default()
        }
    }

    /// An operator at a node wants a daemon back.
    pub(crate) fn reclaim(&mut self, node: usize, daemon: usize) {
        let (ticket, attempt) = (self.ticket(Asker::Spawner), AttemptId::new(self.dice.wide()));
        let entity = self.daemons[daemon].entity;
        self.feed(node, entity, Input::Reclaim { ticket, attempt });
    }

    fn reclaim_somewhere(&mut self, node: usize, daemon: usize) {
        let entity = self.daemons[daemon].entity;
        let left = |node: &Node| {
            let seat = node.seats.get(&entity);
            node.up && seat.is_some_and(|seat| seat.status().standing == Standing::Departed)
        };
        let node = self.nodes.iter().position(left).unwrap_or(node);
        if self.nodes[node].up {
            self.reclaim(node, daemon);
        }
    }

    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::ClientSends(index) => self.client_sends(index),
            Action::Deliver { node, daemon } => self.deliver(node, daemon),
            Action::Move { node, daemon, source, target, cancel_after } => {
                let options = self.draw_options(daemon);
                let attempt = self.ask_move_from(node, daemon, source, target, options);
                if let Some(after) = cancel_after {
                    let entity = self.daemons[daemon].entity;
                    self.plan(after, Happening::Act(Action::Cancel { node, entity, attempt }));
                }
            }
            Action::Cancel { node, entity, attempt } => {
                if self.nodes[node].up {
                    self.feed(node, entity, Input::Cancel { attempt });
                }
            }
            Action::Crash { node, rest } => self.crash(node, Some(rest)),
            Action::Restart { node } => self.restart(node),
            Action::Pause { node, rest } => {
                self.count_node_fault();
                self.say_fault(node, format_args!("pauses"));
                let until = self.now + rest;
                self.nodes[node].paused_until = self.nodes[node].paused_until.max(until);
            }
            Action::Cut { from, to, rest } => {
                let name = self.nodes[to].name.clone();
                self.say_fault(from, format_args!("is cut off from {name}"));
                self.network.cuts.insert((from, to));
                self.plan(rest, Happening::Act(Action::Heal { from, to }));
            }
            Action::Heal { from, to } => {
                self.network.cuts.remove(&(from, to));
            }
            Action::Full { node, rest } => {
                self.count_node_fault();
                self.say_fault(node, format_args!("has a full disk"));
                self.set_full(node, true);
                self.plan(rest, Happening::Act(Action::Room { node }));
            }
            Action::Room { node } => self.set_full(node, false),
            Action::Jump { node, by } => self.jump(node, by),
            Action::Shutdown { node, rest } => self.shut_down(node, rest),
            Action::Close { node, rest } => self.close(node, rest),
            Action::Stop { daemon } => self.stop(daemon),
            Action::Delete { daemon } => self.delete(daemon),
            Action::Collect { node } => self.collect(node),
            Action::Export { daemon } => self.export(daemon),
            Action::Word { daemon, word } => self.say_word(daemon, &word),
            Action::Publish { daemon } => self.publish(daemon),
            Action::Reclaim { node, daemon } => self.reclaim_somewhere(node, daemon),
        }
    }

    pub(super) fn say_fault(&mut self, node: usize, what: std::fmt::Arguments<'_>) {
        let Self { trace, nodes, now, .. } = self;
        trace.say(*now, &nodes[node].name, '!', what);
    }

    /// The node loses its memory; without a rest it stays down.
    pub(crate) fn crash(&mut self, node: usize, rest: Option<u64>) {
        if !self.nodes[node].up {
            return;
        }
        self.count_node_fault();
        if let Some(coverage) = &mut self.coverage
            && self.nodes[node].disk.is_busy()
        {
            coverage.crash_while("between a save and its report");
        }
        self.say_fault(node, format_args!("crashes"));
        self.nodes[node].forget();
        for write in self.nodes[node].disk.crash(&mut self.dice) {
            self.committed(node, &write);
        }
        self.see_recovered(node);
        self.see(&Observed::Died { node });
        for client in &mut self.clients {
            if client.node == node {
                client.under_way.clear();
            }
        }
        if let Some(rest) = rest {
            self.plan(rest, Happening::Act(Action::Restart { node }));
        }
    }

    /// Shows the checkers what the disk of a node holds after a crash. One in memory cannot forget.
    fn see_recovered(&mut self, node: usize) {
        if self.nodes[node].disk.files.medium() == Medium::Memory {
            return;
        }
        let entities: Vec<EntityId> = self.daemons.iter().map(|daemon| daemon.entity).collect();
        for entity in entities {
            // One that cannot be read is read at the start.
            if let Ok(record) = self.nodes[node].disk.files.record(&entity) {
                self.see(&Observed::Recovered { node, entity, record: &record });
            }
        }
    }

    pub(crate) fn restart(&mut self, node: usize) {
        if self.nodes[node].up {
            return;
        }
        self.say_fault(node, format_args!("starts"));
        let now = self.now;
        if self.clocks_jump {
            self.nodes[node].offset = self.dice.below(2 * OFFSET_MAX);
        }
        let boot = self.dice.below(self.boot_max);
        let place = &mut self.nodes[node];
        (place.up, place.started, place.paused_until) = (true, now, 0);
        place.ready_at = now + boot;
        let entities: Vec<EntityId> = self.daemons.iter().map(|daemon| daemon.entity).collect();
        for entity in entities {
            self.feed(node, entity, Input::Woke);
        }
    }

    /// Changes a disk behind the back of its node, which is down.
    pub(crate) fn write_behind(&mut self, node: usize, write: &Write) {
        let results = self.nodes[node].disk.files.commit(std::slice::from_ref(write));
        if results.iter().all(Result::is_ok) {
            self.say_fault(node, format_args!("is tampered with"));
        }
    }

    /// From here on events may be lost, as people accepted.
    pub(crate) fn expect_losses(&mut self) {
        self.see(&Observed::Wiped);
    }

    /// The node comes back with an empty disk.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.crash(node, None);
        let store = StoreId::new(self.dice.wide());
        self.say_fault(node, format_args!("has a new disk"));
        self.nodes[node].wipe(store);
        self.see(&Observed::Wiped);
    }
}
