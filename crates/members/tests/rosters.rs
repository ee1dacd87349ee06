//! Rosters that tell each other who is a member, over a network that loses, and with disks that fail.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::unwrap_in_result, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use whimbrel_members::{
    Contact, Fact, JoinRefusal, JoinRequest, MeshId, Roster, RosterConfig, RosterError, Says,
    SignedFact, SignedInvitation, Step, Telling,
};
use whimbrel_wire::{NodeId, NodeKey, PublicKey};

/// An hour, in microseconds.
const HOUR: u64 = 3_600_000_000;

fn mesh() -> MeshId {
    MeshId::new(7)
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32])
}

fn contact(seed: u8) -> Contact {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 7_000 + u16::from(seed)));
    Contact { key: key(seed).public(), name: format!("n{seed}"), addresses: vec![address] }
}

/// Of a mesh in which 1, 2 and 3 are fixed, and 1 and 2 invite.
fn config(seed: u8) -> RosterConfig {
    let fixed = (1..=3).filter(|&other| other != seed).map(contact).collect();
    let inviters = [1, 2].map(|seed| key(seed).public()).into();
    let Contact { name, addresses, .. } = contact(seed);
    RosterConfig { key: key(seed), name, addresses, mesh: Some(mesh()), inviters, fixed }
}

fn fixed(seed: u8) -> Roster {
    Roster::open(config(seed), None).unwrap()
}

/// A guest that knows nothing but its own key.
fn stranger(seed: u8) -> RosterConfig {
    RosterConfig { mesh: None, inviters: BTreeSet::new(), fixed: Vec::new(), ..config(seed) }
}

fn request(invitation: SignedInvitation, seed: u8) -> JoinRequest {
    let Contact { name, addresses, .. } = contact(seed);
    JoinRequest { invitation, name, addresses }
}

struct Mesh {
    rosters: BTreeMap<NodeId, Roster>,
    flying: VecDeque<(NodeId, Telling)>,
    dice: u64,
    loss_percent: u64,
    /// Nodes whose disk takes nothing.
    broken: BTreeSet<NodeId>,
}

impl Mesh {
    fn new(seed: u64) -> Self {
        let rosters = (1..=3).map(|seed| (key(seed).node_id(), fixed(seed))).collect();
        let (flying, broken) = (VecDeque::new(), BTreeSet::new());
        Self { rosters, flying, dice: seed, loss_percent: 0, broken }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.dice >> 33) % sides
    }

    fn of(&self, seed: u8) -> &Roster {
        &self.rosters[&key(seed).node_id()]
    }

    /// A step counts if it could be saved.
    fn take<T>(&mut self, seed: u8, step: Step<T>) -> Option<T> {
        self.take_at(key(seed).node_id(), step)
    }

    fn take_at<T>(&mut self, node: NodeId, step: Step<T>) -> Option<T> {
        if !step.roster.is_saved_as(&self.rosters[&node]) && self.broken.contains(&node) {
            return None;
        }
        self.rosters.insert(node, step.roster);
        self.flying.extend(step.tellings.into_iter().map(|telling| (node, telling)));
        Some(step.result)
    }

    fn join(&mut self, host: u8, guest: u8, succeeds: bool) -> Result<(), JoinRefusal> {
        let named = succeeds.then(|| key(guest).public());
        let invitation = self.of(host).invite(u128::from(guest), HOUR, named, succeeds).unwrap();
        let request = request(invitation.clone(), guest);
        let step = self.of(host).admit(0, key(guest).public(), &request)?;
        let welcome = self.take(host, step).ok_or(JoinRefusal::NotSaved)?;
        let roster = Roster::welcomed(stranger(guest), &invitation.invitation, welcome).unwrap();
        // What a guest saves is what it goes on from.
        let saved = roster.bytes();
        let roster = Roster::open(stranger(guest), Some(&saved)).unwrap();
        self.rosters.insert(key(guest).node_id(), roster);
        Ok(())
    }

    /// Everybody says what was not heard, until nothing is on its way.
    fn spread(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for (node, roster) in &self.rosters {
                self.flying.extend(roster.untold().into_iter().map(|telling| (*node, telling)));
            }
            while let Some((from, telling)) = self.flying.pop_front() {
                if self.roll(100) < self.loss_percent {
                    continue;
                }
                let (Telling::Told { to, .. } | Telling::Holds { to, .. }) = &telling;
                let to = *to;
                let Some(roster) = self.rosters.get_mut(&to) else { continue };
                match telling {
                    // Whoever is no member is not listened to.
                    Telling::Told { facts, .. } if roster.other(from).is_some() => {
                        let step = roster.told(from, &facts);
                        self.take_at(to, step);
                    }
                    Telling::Holds { facts, .. } => roster.held(from, &facts),
                    Telling::Told { .. } => {}
                }
            }
        }
    }

    #[track_caller]
    fn expect_members(&self, seeds: &[u8]) {
        for &at in seeds {
            let expected: BTreeSet<NodeId> =
                seeds.iter().filter(|&&seed| seed != at).map(|&seed| key(seed).node_id()).collect();
            let members: BTreeSet<NodeId> = self.of(at).members().into_keys().collect();
            assert_eq!(members, expected, "at {at}");
            let others = self.of(at).others();
            for node in self.rosters.keys() {
                assert_eq!(self.of(at).other(*node), others.get(node), "{node} at {at}");
            }
        }
    }
}

#[test]
fn a_guest_is_known_to_all_and_knows_all() {
    for seed in 0..50 {
        let mut mesh = Mesh::new(seed);
        mesh.loss_percent = 30;
        mesh.join(1, 4, false).unwrap();
        mesh.join(2, 5, false).unwrap();
        mesh.spread(30);
        mesh.expect_members(&[1, 2, 3, 4, 5]);
        assert!(mesh.of(1).unaware_of(key(4).node_id()).is_empty());
        assert_eq!(mesh.of(4).members()[&key(5).node_id()], contact(5));
        // Nobody repeats what all have heard.
        assert!(mesh.rosters.values().all(|roster| roster.untold().is_empty()), "seed {seed}");
    }
}

#[test]
fn who_leaves_or_is_struck_off_is_no_member_and_may_come_again() {
    let mut mesh = Mesh::new(1);
    mesh.join(1, 4, false).unwrap();
    mesh.spread(2);
    let step = mesh.of(4).leave().unwrap();
    let digest = mesh.take(4, step).unwrap();
    mesh.spread(2);
    mesh.expect_members(&[1, 2, 3]);
    assert!(mesh.of(4).has_left() && mesh.of(4).members().is_empty());
    let former = mesh.of(4).others().into_keys().collect();
    assert!(mesh.of(4).not_held_by(&digest, &former).is_empty(), "all have said so");
    // A fixed member is struck off by an inviter, whatever the config says after a start.
    assert_eq!(mesh.of(3).strike_off(key(2).node_id()).unwrap_err(), RosterError::NoInviter);
    let step = mesh.of(1).strike_off(key(3).node_id()).unwrap();
    mesh.take(1, step).unwrap();
    mesh.spread(2);
    mesh.expect_members(&[1, 2]);
    let saved = mesh.of(1).bytes();
    assert_eq!(Roster::open(config(1), Some(&saved)).unwrap().members().len(), 1);
    let invitation = mesh.of(2).invite(99, HOUR, None, false).unwrap();
    let step = mesh.of(2).admit(0, key(4).public(), &request(invitation, 4)).unwrap();
    mesh.take(2, step).unwrap();
    mesh.spread(2);
    assert!(mesh.of(1).members().contains_key(&key(4).node_id()));
}

#[test]
fn what_could_not_be_saved_did_not_happen_saved_before_said() {
    let mut mesh = Mesh::new(1);
    mesh.broken.insert(key(1).node_id());
    assert_eq!(mesh.join(1, 4, false), Err(JoinRefusal::NotSaved));
    mesh.broken.clear();
    mesh.broken.insert(key(3).node_id());
    mesh.join(1, 4, false).unwrap();
    mesh.spread(5);
    // 3 cannot save it, and so does not say that it holds it.
    assert_eq!(mesh.of(1).unaware_of(key(4).node_id()), [key(3).node_id()].into());
    mesh.broken.clear();
    mesh.spread(2);
    assert!(mesh.of(1).unaware_of(key(4).node_id()).is_empty());
    mesh.expect_members(&[1, 2, 3, 4]);
}

#[test]
fn an_invitation_is_good_for_one_guest_for_its_time_in_its_mesh() {
    let host = fixed(1);
    let admit = |roster: &Roster, wall, guest: u8, invitation: &SignedInvitation| {
        let admitted = roster.admit(wall, key(guest).public(), &request(invitation.clone(), guest));
        admitted.map(|step| step.roster)
    };
    let open = host.invite(1, HOUR, None, false).unwrap();
    assert_eq!(SignedInvitation::parse(&open.text()), Some(open.clone()));
    assert_eq!(admit(&host, HOUR, 4, &open).unwrap_err(), JoinRefusal::Expired);
    assert_eq!(admit(&fixed(2), 0, 4, &open).unwrap_err(), JoinRefusal::Forged);
    let named = host.invite(2, HOUR, Some(key(5).public()), false).unwrap();
    assert_eq!(admit(&host, 0, 4, &named).unwrap_err(), JoinRefusal::Guest);
    assert_eq!(admit(&host, 0, 3, &open).unwrap_err(), JoinRefusal::Member);
    let other = RosterConfig { mesh: Some(MeshId::new(8)), ..config(1) };
    let elsewhere = Roster::open(other, None).unwrap();
    assert_eq!(admit(&elsewhere, 0, 4, &open).unwrap_err(), JoinRefusal::Mesh);
    let mut longer = open.clone();
    longer.invitation.ends = u64::MAX;
    assert_eq!(admit(&host, 0, 4, &longer).unwrap_err(), JoinRefusal::Forged);
    let mut bad = request(open.clone(), 4);
    bad.name = "no good".to_owned();
    assert_eq!(host.admit(0, key(4).public(), &bad).unwrap_err(), JoinRefusal::Malformed);

    let after = admit(&host, 0, 4, &open).unwrap();
    assert_eq!(admit(&after, 0, 5, &open).unwrap_err(), JoinRefusal::Used);
    // Whoever did not hear of its welcome asks again and is let in as before.
    assert!(admit(&after, 0, 4, &open).unwrap().is_saved_as(&after));

    assert_eq!(fixed(3).invite(1, HOUR, None, false).unwrap_err(), RosterError::NoInviter);
    let homeless = RosterConfig { mesh: None, ..config(1) };
    let homeless = Roster::open(homeless, None).unwrap();
    assert_eq!(homeless.invite(1, HOUR, None, false).unwrap_err(), RosterError::NoMesh);
}

#[test]
fn a_member_names_one_successor_of_its_own() {
    let mut mesh = Mesh::new(1);
    // 3 invites nobody, but may be succeeded by a key that it names.
    assert!(mesh.of(3).invite(1, HOUR, None, true).is_err());
    mesh.join(3, 4, true).unwrap();
    mesh.spread(2);
    mesh.expect_members(&[1, 2, 3, 4]);
    assert_eq!(mesh.of(3).successor(), Some(key(4).node_id()));
    assert!(mesh.of(3).unaware_of(key(4).node_id()).is_empty());
    assert_eq!(mesh.join(3, 5, true), Err(JoinRefusal::Used));
    // A second one is not believed, whatever 3 signs.
    let says = Says::Joined { contact: contact(5), succeeds: true };
    let second = forged(5, 1, says, 3);
    let step = mesh.of(1).told(key(3).node_id(), &[second]);
    assert!(step.roster.is_saved_as(mesh.of(1)));
    let step = mesh.of(3).leave().unwrap();
    mesh.take(3, step).unwrap();
    mesh.spread(2);
    mesh.expect_members(&[1, 2, 4]);
}

fn forged(member: u8, version: u64, says: Says, by: u8) -> SignedFact {
    let by_key: PublicKey = key(by).public();
    Fact { mesh: mesh(), member: key(member).public(), version, says, by: by_key }.sign(&key(by))
}

#[test]
fn rightly_said() {
    let mut mesh = Mesh::new(1);
    mesh.join(1, 4, false).unwrap();
    mesh.spread(2);
    let joined = |seed: u8| Says::Joined { contact: contact(seed), succeeds: false };
    let mut changed = forged(5, 1, joined(5), 1);
    changed.fact.version = 2;
    let foreign = Fact { mesh: MeshId::new(8), ..forged(5, 1, joined(5), 1).fact }.sign(&key(1));
    let wrong = [
        // 3 and 4 invite nobody, and strike off nobody.
        forged(5, 1, joined(5), 3),
        forged(5, 1, joined(5), 4),
        forged(2, 1, Says::Left, 3),
        // Strangers say nothing.
        forged(5, 1, Says::Joined { contact: contact(5), succeeds: true }, 6),
        // About another key than it says.
        forged(5, 1, joined(6), 1),
        changed,
        foreign,
        // What is past.
        forged(4, 0, Says::Left, 1),
    ];
    for fact in wrong {
        let step = mesh.of(2).told(key(3).node_id(), std::slice::from_ref(&fact));
        assert!(step.roster.is_saved_as(mesh.of(2)), "{fact:?}");
        assert!(!step.tellings.iter().any(|telling| matches!(telling, Telling::Told { .. })));
    }
    // A fact of the past changes nothing, and whoever tells it is told what took its place.
    let step = mesh.of(1).strike_off(key(4).node_id()).unwrap();
    mesh.take(1, step).unwrap();
    mesh.spread(2);
    let step = mesh.of(2).told(key(3).node_id(), &[forged(4, 1, joined(4), 1)]);
    assert!(step.roster.is_saved_as(mesh.of(2)));
    assert!(!mesh.of(2).members().contains_key(&key(4).node_id()));
}

#[test]
fn of_two_facts_that_claim_one_place_all_choose_alike() {
    let joined = |seed: u8| Says::Joined { contact: contact(seed), succeeds: false };
    let (one, other) = (forged(5, 1, joined(5), 1), forged(5, 1, joined(5), 2));
    let left = forged(5, 1, Says::Left, 2);
    for (first, second) in [(&one, &other), (&one, &left), (&other, &left)] {
        let from = key(3).node_id();
        let hear = |facts: [&SignedFact; 2]| {
            let roster = fixed(1).told(from, &[facts[0].clone()]).roster;
            roster.told(from, &[facts[1].clone()]).roster
        };
        assert!(hear([first, second]).is_saved_as(&hear([second, first])));
    }
    assert!(left.beats(&one) && left.beats(&other));
}

#[test]
fn a_file_that_is_damaged_is_refused() {
    let mut mesh = Mesh::new(1);
    mesh.join(1, 4, false).unwrap();
    let saved = mesh.of(1).bytes();
    assert!(Roster::open(config(1), Some(&saved)).is_some());
    for end in 0..saved.len() {
        assert!(Roster::open(config(1), Some(&saved[..end])).is_none(), "{end} bytes");
    }
    let other = RosterConfig { mesh: Some(MeshId::new(8)), ..config(1) };
    assert!(Roster::open(other, Some(&saved)).is_none(), "of another mesh");
}
