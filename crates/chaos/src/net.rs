//! Decides in which network each process lives, and how the network is disturbed.
//!
//! Each party has a network namespace with one end of a veth pair; the other ends are ports of a
//! bridge in a namespace of its own, the hub. The machine's own network is not touched. About half
//! of the ways on which one node dials another lead through a relay that lives in the hub.
//! nftables looks at packets where they enter the hub, so that a sender never hears that something
//! was dropped.
//!
//! Without the rights for that everybody lives on the loopback, all ways lead through relays, and
//! these lose datagrams too.
//!
//! What was made is removed when [`Spaces`] is dropped. What a killed trial left is removed by the next
//! one: names hold the id of the process that made them.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use whimbrel_trial::Dice;
use whimbrel_trial::relay::Weather;

use crate::plan::Disturbance;
use crate::relays::{RelayWay, Relays};
use crate::system::{call, feed, has, is_root, is_running};

/// What the names of everything begin with; the id of the process follows.
pub(crate) const PREFIX: &str = "whimbrel-chaos-";

/// Where parties listen in their namespaces.
const PORT: u16 = 7_000;

/// How long a datagram may wait for its turn on a slow line.
const SLOW_LATENCY_MS: u32 = 200;

/// What one dial of `from` to `to` passes.
#[derive(Clone, Copy, Debug)]
struct Passage {
    from: usize,
    to: usize,
    /// Where `from` dials.
    dialled: SocketAddr,
    /// The place of the relay, if there is one.
    relay: Option<usize>,
}

/// The network of all parties: nodes first, then clients.
pub(crate) struct Net {
    hub: Option<Hub>,
    parties: Vec<SocketAddr>,
    passages: Vec<Passage>,
    relays: Relays,
}

impl Net {
    /// A network for so many nodes and clients, and what removes it.
    pub(crate) async fn make(
        nodes: usize,
        clients: usize,
        loopback: bool,
        dice: &mut Dice,
    ) -> Result<(Self, Spaces)> {
        let hub = if loopback { None } else { Hub::new(nodes + clients)? };
        let spaces = Spaces(hub.clone());
        if let Some(hub) = &hub {
            hub.build().context("could not make the networks; --loopback goes without")?;
        }
        let parties = match &hub {
            Some(_) => {
                (0..nodes + clients).map(|at| SocketAddr::new(address(1, at), PORT)).collect()
            }
            None => free_addresses(nodes + clients)?,
        };
        let mut passages = Vec::new();
        let mut ways = Vec::new();
        for from in 0..parties.len() {
            for to in (0..parties.len()).filter(|&to| to != from) {
                let is_between_nodes = from < nodes && to < nodes;
                let by_chance = dice.below(2) == 0;
                let relayed = hub.is_none() || is_between_nodes && by_chance;
                let relay = relayed.then_some(ways.len());
                let mut dialled = parties[to];
                if let Some(at) = relay {
                    let here = match &hub {
                        Some(hub) => hub.stand(at)?,
                        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
                    };
                    let port = if hub.is_some() { PORT } else { 0 };
                    let (front, seed) = (SocketAddr::new(here, port), dice.next());
                    ways.push(RelayWay { front, back: here, to: parties[to], seed });
                    dialled = front;
                }
                passages.push(Passage { from, to, dialled, relay });
            }
        }
        let place = hub.as_ref().map(|hub| hub.name());
        let relays = Relays::start(place, &ways).await.context("could not start the relays")?;
        for passage in &mut passages {
            if let Some(relay) = passage.relay {
                passage.dialled = relays.fronts[relay];
            }
        }
        Ok((Self { hub, parties, passages, relays }, spaces))
    }

    /// Whether each party has a network of its own.
    pub(crate) const fn has_spaces(&self) -> bool {
        self.hub.is_some()
    }

    /// Where a party listens.
    pub(crate) fn address(&self, party: usize) -> SocketAddr {
        self.parties[party]
    }

    /// Where `from` dials `to`.
    pub(crate) fn dialled(&self, from: usize, to: usize) -> SocketAddr {
        let passage = self.passages.iter().find(|it| it.from == from && it.to == to);
        passage.map_or(self.parties[to], |passage| passage.dialled)
    }

    /// How many ways have a relay.
    pub(crate) fn relayed(&self) -> usize {
        self.passages.iter().filter(|it| it.relay.is_some()).count()
    }

    /// The words that run a program where a party lives.
    pub(crate) fn at(&self, party: usize) -> Vec<String> {
        match &self.hub {
            Some(hub) => ["ip", "netns", "exec", &hub.space(party)].map(str::to_owned).to_vec(),
            None => Vec::new(),
        }
    }

    /// Everything is as it should be.
    pub(crate) async fn calm(&mut self) -> Result<u64> {
        let dropped = match &self.hub {
            Some(hub) => hub.calm()?,
            None => 0,
        };
        Ok(dropped + self.relays.set(&[]).await?)
    }

    /// Disturbs.
    pub(crate) async fn disturb(&mut self, what: &Disturbance) -> Result<()> {
        if let Some(hub) = &self.hub {
            hub.disturb(what, &self.passages)?;
        }
        let weathers = self.weathers(what);
        if !weathers.is_empty() {
            self.relays.set(&weathers).await?;
        }
        Ok(())
    }

    /// Whether `what` can change anything here.
    pub(crate) fn can(&self, what: &Disturbance) -> bool {
        match what {
            Disturbance::Slow { .. } => self.hub.is_some(),
            Disturbance::Late { .. } => !self.weathers(what).is_empty(),
            Disturbance::Loss { .. }
            | Disturbance::OneWay { .. }
            | Disturbance::Apart { .. }
            | Disturbance::Mute { .. }
            | Disturbance::Deaf { .. } => true,
        }
    }

    /// What the relays do: the place of each, the way there and the way back.
    fn weathers(&self, what: &Disturbance) -> Vec<(usize, Weather, Weather)> {
        let relayed = self.passages.iter().filter_map(|it| it.relay.map(|relay| (it, relay)));
        let weathers = relayed.map(|(passage, relay)| {
            let there = self.weather(what, passage.from, passage.to);
            (relay, there, self.weather(what, passage.to, passage.from))
        });
        let fair = Weather::default();
        weathers.filter(|(_, there, back)| *there != fair || *back != fair).collect()
    }

    fn weather(&self, what: &Disturbance, from: usize, to: usize) -> Weather {
        let lost = |loss: f64| Weather { loss, ..Weather::default() };
        match *what {
            Disturbance::Late { node, delay_ms, jitter_ms } if from == node || to == node => {
                Weather {
                    loss: 0.0,
                    delay: Duration::from_millis(delay_ms.into()),
                    jitter: Duration::from_millis(jitter_ms.into()),
                }
            }
            Disturbance::Late { .. } | Disturbance::Slow { .. } => Weather::default(),
            // Packets are dropped by the hub where there is one.
            _ if self.hub.is_some() => Weather::default(),
            Disturbance::Loss { .. }
            | Disturbance::OneWay { .. }
            | Disturbance::Apart { .. }
            | Disturbance::Mute { .. }
            | Disturbance::Deaf { .. } => lost(what.loss(from, to)),
        }
    }
}

fn free_addresses(count: usize) -> Result<Vec<SocketAddr>> {
    // All at once, so that they differ; then they are free for the parties.
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .context("could not find free ports")?;
    Ok(sockets.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
}

/// Parties are in row 1, relays in row 2.
fn address(row: u8, at: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, row, u8::try_from(at + 1).unwrap_or(u8::MAX)))
}

/// The namespaces.
#[derive(Clone)]
struct Hub {
    prefix: String,
    count: usize,
}

impl Hub {
    /// None, and loud words, where that is not possible.
    fn new(count: usize) -> Result<Option<Self>> {
        if !is_root() || !has("ip") {
            println!("*** NO NETWORK NAMESPACES: this needs root and the tool ip. ***");
            println!("*** Everybody lives on the loopback; relays lose and delay datagrams. ***");
            println!("*** No nftables, no slow lines, no full disks, no other clocks. ***");
            return Ok(None);
        }
        for (tool, package) in [("nft", "nftables"), ("tc", "iproute2")] {
            if !has(tool) {
                bail!("the tool {tool} is missing: apt-get install {package}, or give --loopback");
            }
        }
        Ok(Some(Self { prefix: format!("{PREFIX}{}", std::process::id()), count }))
    }

    fn name(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn space(&self, party: usize) -> String {
        format!("{}-{party}", self.prefix)
    }

    fn build(&self) -> Result<()> {
        let hub = self.name();
        call(&format!("ip netns add {hub}"))?;
        let in_hub = |words: String| call(&format!("ip -n {hub} {words}"));
        in_hub("link set lo up".to_owned())?;
        in_hub("link add bridge type bridge".to_owned())?;
        in_hub("link set bridge up".to_owned())?;
        in_hub("addr add 10.77.0.1/16 dev bridge".to_owned())?;
        for party in 0..self.count {
            let space = self.space(party);
            call(&format!("ip netns add {space}"))?;
            in_hub(format!("link add v{party} type veth peer name eth0 netns {space}"))?;
            in_hub(format!("link set v{party} master bridge up"))?;
            let own = address(1, party);
            for words in [
                format!("addr add {own}/16 dev eth0"),
                "link set eth0 up".into(),
                "link set lo up".into(),
            ] {
                call(&format!("ip -n {space} {words}"))?;
            }
        }
        Ok(())
    }

    /// An address for one relay.
    fn stand(&self, relay: usize) -> Result<IpAddr> {
        let here = address(2, relay);
        call(&format!("ip -n {} addr add {here}/16 dev bridge", self.name()))?;
        Ok(here)
    }

    fn disturb(&self, what: &Disturbance, passages: &[Passage]) -> Result<()> {
        if let Disturbance::Slow { node, kbit } = *what {
            // Both ends: what it sends and what it gets.
            let line = |place: String, device: String| {
                call(&format!(
                    "tc -n {place} qdisc add dev {device} root tbf rate {kbit}kbit burst 64kb \
                     latency {SLOW_LATENCY_MS}ms"
                ))
            };
            line(self.name(), format!("v{node}"))?;
            line(self.space(node), "eth0".to_owned())?;
        }
        if let Some(script) = rules(what, self.count, passages) {
            feed(&format!("ip netns exec {} nft -f -", self.name()), &script)?;
        }
        Ok(())
    }

    /// How many packets were dropped since it was calm.
    fn calm(&self) -> Result<u64> {
        let hub = self.name();
        let listed = call(&format!("ip netns exec {hub} nft list ruleset"))?;
        call(&format!("ip netns exec {hub} nft flush ruleset"))?;
        for party in 0..self.count {
            // There is none, most of the time.
            let _ = call(&format!("tc -n {hub} qdisc del dev v{party} root"));
            let _ = call(&format!("tc -n {} qdisc del dev eth0 root", self.space(party)));
        }
        Ok(counted(&listed))
    }
}

/// The sum of all counters of a rule set.
fn counted(listed: &str) -> u64 {
    let words: Vec<&str> = listed.split_whitespace().collect();
    let counters = words.windows(3).filter(|three| three[..2] == ["counter", "packets"]);
    counters.filter_map(|three| three[2].parse::<u64>().ok()).sum()
}

/// Removes the namespaces when it is dropped, whoever still uses the network.
pub(crate) struct Spaces(Option<Hub>);

impl Drop for Spaces {
    fn drop(&mut self) {
        let Some(hub) = &self.0 else { return };
        let spaces = (0..hub.count).map(|party| hub.space(party));
        for space in spaces.chain([hub.name()]) {
            // It may not have been made.
            let _ = call(&format!("ip netns del {space}"));
        }
    }
}

/// The rules that drop packets between parties: a chain for each port of the bridge.
fn rules(what: &Disturbance, parties: usize, passages: &[Passage]) -> Option<String> {
    let mut chains = String::new();
    for from in 0..parties {
        let mut chain = String::new();
        for to in (0..parties).filter(|&to| to != from) {
            let loss = what.loss(from, to);
            if loss <= 0.0 {
                continue;
            }
            // Where `to` is seen from `from`: itself, and the relays between the two.
            let between = passages.iter().filter(|it| {
                it.relay.is_some() && [(from, to), (to, from)].contains(&(it.from, it.to))
            });
            let mut places = vec![address(1, to)];
            places.extend(between.map(|it| it.dialled.ip()));
            let places = places.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
            let chance = if loss < 1.0 {
                format!("numgen random mod 1000 < {:.0} ", loss * 1_000.0)
            } else {
                String::new()
            };
            let _ = writeln!(chain, "ip daddr {{ {places} }} {chance}counter drop");
        }
        if !chain.is_empty() {
            let _ = writeln!(
                chains,
                "chain v{from} {{\ntype filter hook ingress device v{from} priority 0;\n{chain}}}"
            );
        }
    }
    (!chains.is_empty()).then(|| format!("table netdev chaos {{\n{chains}}}\n"))
}

/// Removes what trials left that were killed.
pub(crate) fn sweep() {
    let spaces = call("ip netns list").unwrap_or_default();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder = std::env::temp_dir();
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        if is_orphan(place.trim_start_matches(&format!("{}/", folder.display()))) {
            let _ = call(&format!("umount -l {place}"));
        }
    }
    for space in spaces.lines().filter_map(|line| line.split(' ').next()) {
        if is_orphan(space) {
            println!("removing {space}, left by a trial that was killed");
            let _ = call(&format!("ip netns del {space}"));
        }
    }
    let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| is_orphan(&entry.file_name().to_string_lossy())) {
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

/// Whether the process that is named in a name is gone.
fn is_orphan(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().is_ok_and(|process| !is_running(process))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(from: usize, to: usize, relay: Option<usize>) -> Passage {
        let ip = relay.map_or_else(|| address(1, to), |relay| address(2, relay));
        Passage { from, to, dialled: SocketAddr::new(ip, PORT), relay }
    }

    #[test]
    fn a_cut_one_way_drops_what_one_sends_to_the_other_relays_included_and_nothing_else() {
        let passages = [passage(0, 1, Some(4)), passage(1, 0, None), passage(0, 2, Some(5))];
        let said = rules(&Disturbance::OneWay { from: 0, to: 1 }, 3, &passages).unwrap();
        assert_eq!(
            said,
            "table netdev chaos {\nchain v0 {\ntype filter hook ingress device v0 priority 0;\n\
             ip daddr { 10.77.1.2, 10.77.2.5 } counter drop\n}\n}\n"
        );
    }

    #[test]
    fn loss_by_chance_is_on_all_ways_of_the_node() {
        let said = rules(&Disturbance::Loss { node: 1, percent: 20 }, 3, &[]).unwrap();
        assert_eq!(said.matches("numgen random mod 1000 < 200 counter drop").count(), 4);
        assert!(
            said.contains("chain v0") && said.contains("chain v1") && said.contains("chain v2")
        );
        assert_eq!(rules(&Disturbance::Slow { node: 1, kbit: 9 }, 3, &[]), None);
    }

    #[test]
    fn counters_are_added_up() {
        assert_eq!(counted("drop counter packets 7 bytes 90 drop\n counter packets 5 bytes 1"), 12);
        assert_eq!(counted(""), 0);
    }

    #[test]
    fn only_what_a_dead_process_left_is_an_orphan() {
        let own = format!("{PREFIX}{}-hub", std::process::id());
        assert!(!is_orphan(&own) && !is_orphan("other") && !is_orphan(PREFIX));
        assert!(is_orphan(&format!("{PREFIX}999999999-0")));
    }
}
