//! Decides how a chart and a child of it that is a daemon of its own stand to each other.
//!
//! Both are instances, each wherever it lives, and know each other by address. What they say to each
//! other is a [`Kin`] letter, an effect that the host delivers exactly once and in order.
//!
//! ```text
//! parent                                   newborn, made by a host that was asked by `Effect::Bear`
//!   unborn ── Bear ─▶ host ── makes ─▶ newborn
//!   unborn ◀───────── Born ──────────── newborn: it waits, nothing of its chart has happened
//!   known  ─────────▶ Begin ──────────▶ runs           (any other newborn: Dismiss, it ends)
//!   known  ◀─ Says, Failed, Done ─────▶ Hear, Again, Stop
//! ```
//!
//! # Invariants
//!
//! * K1 (one child): of all newborns for one spawn exactly one runs: the first that the parent hears of.
//!   That is decided by a step of the parent, so a host may make one twice and lose one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use whimbrel_wire::Time;

use super::effect::Effect;
use super::event::{Event, EventKind};
use super::instance::Instance;
use super::session::{Phase, Session, SessionId};
use super::travel::leave_all;
use crate::definition::Definition;
use crate::expression::Fault;
use crate::value::Value;

/// When nothing wakes a session but a letter.
pub(crate) const NEVER: Time = Time::from_nanos(u64::MAX);

/// What an instance knows of a child that is a daemon of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Abroad {
    /// Which of the spawns of this session.
    pub(crate) number: u64,
    /// What the newborn that is meant can say; empty until a host said it.
    pub(crate) token: Arc<str>,
    /// The name of its chart.
    pub(crate) chart: String,
    /// What it is given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) given: BTreeMap<Arc<str>, Value>,
    /// On which node it is to live.
    pub(crate) on: Arc<str>,
    /// Who it is; none until it is born.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<Arc<str>>,
    /// What waits until it is born.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mail: Vec<Event>,
    /// When it began again, as far as that still counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) restarts: Vec<Time>,
}

/// What an instance knows of a parent that is another daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Above {
    /// Its address.
    pub parent: Arc<str>,
    /// Which of its sessions spawned this one.
    pub session: SessionId,
    /// By which spawn.
    pub number: u64,
    /// What shows that.
    pub token: Arc<str>,
    /// The id by which the parent knows it.
    pub id: Arc<str>,
    /// Whether the parent says what is to be done when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub supervised: bool,
    /// On which node it is to live, until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Arc<str>>,
    /// How far that has come.
    #[serde(default)]
    pub standing: Kinship,
}

/// How far a child that is a daemon of its own has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kinship {
    /// Nobody was told of it.
    #[default]
    Newborn,
    /// Its parent is told, and has not said that it is the one.
    Waiting,
    /// It is the one.
    Running,
    /// It failed, and its parent has not said what is to be done.
    Failed,
    /// Its parent wants nothing more of it.
    Dismissed,
}

/// A letter between a chart and a child that is a daemon of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kin {
    /// The session of the parent.
    pub session: SessionId,
    /// By which spawn of it.
    pub number: u64,
    /// What is said.
    pub word: KinWord,
}

/// What a [`Kin`] letter says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KinWord {
    /// To the parent: a child was born.
    Born {
        /// For which spawn it was made.
        token: Arc<str>,
    },
    /// To the parent: an event.
    Says(Box<Event>),
    /// To the parent: the child failed, and waits.
    Failed(Box<Event>),
    /// To the parent: the child has come to its end.
    Done {
        /// What it says.
        data: Value,
    },
    /// To the child: it is the one.
    Begin,
    /// To the child: it is one too many.
    Dismiss,
    /// To the child: an event.
    Hear(Box<Event>),
    /// To the child: it is to begin again.
    Again {
        /// After so long.
        after_nanos: u64,
    },
    /// To the child: it is to end.
    Stop,
    /// To both: an event reached nobody.
    Lost {
        /// The id of its `send`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        send_id: Option<Arc<str>>,
    },
}

/// A child that is to be born.
#[derive(Clone, Debug, PartialEq)]
pub struct Unborn {
    /// What it is to know of its parent.
    pub above: Above,
    /// What it is.
    pub definition: Arc<Definition>,
    /// What it is given.
    pub given: BTreeMap<Arc<str>, Value>,
}

/// A letter is from nobody that is kin.
///
/// Fault: sender. Changed: nothing. Again: no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sender is no kin of the statechart")]
pub struct Stranger;

impl Instance {
    /// The same as a child of another daemon: nothing happens before its parent says so.
    #[must_use]
    pub fn under(mut self, above: Above, given: BTreeMap<Arc<str>, Value>) -> Self {
        if let Some(session) = self.session_mut(SessionId::FIRST) {
            let state = session.state_mut();
            state.given = given;
            state.is_supervised = above.supervised;
            state.sleeps_until = Some(NEVER);
        }
        self.above = Some(Arc::new(Above { standing: Kinship::Newborn, ..above }));
        self
    }

    /// What it knows of a parent that is another daemon.
    #[must_use]
    pub fn above(&self) -> Option<&Above> {
        self.above.as_deref()
    }

    /// Says of a newborn that it is one, once.
    pub(crate) fn present(&mut self) -> Option<Effect> {
        let above = self.above.as_ref().filter(|above| above.standing == Kinship::Newborn)?;
        let word = KinWord::Born { token: Arc::clone(&above.token) };
        self.stand(Kinship::Waiting);
        self.to_parent(word)
    }

    fn stand(&mut self, standing: Kinship) {
        if let Some(above) = &mut self.above {
            Arc::make_mut(above).standing = standing;
        }
    }

    /// It lives where it is to live.
    pub fn placed(&mut self) {
        if let Some(above) = &mut self.above {
            Arc::make_mut(above).on = None;
        }
    }

    pub(super) fn to_parent(&self, word: KinWord) -> Option<Effect> {
        let above = self.above.as_ref()?;
        let kin = Kin { session: above.session, number: above.number, word };
        Some(Effect::Kin { to: Arc::clone(&above.parent), kin: Box::new(kin) })
    }

    /// Says what a newborn of this spawn can say, which nobody else can.
    pub fn name_unborn(&mut self, session: SessionId, id: &str, token: Arc<str>) {
        let Some(session) = self.session_mut(session) else { return };
        let Some((id, spawned)) = session.spawned.get_key_value(id) else { return };
        let (id, mut spawned) = (Arc::clone(id), spawned.clone());
        if let Some(abroad) = spawned.abroad.as_mut().filter(|abroad| abroad.token.is_empty()) {
            abroad.token = token;
            session.set_spawned(id, spawned);
        }
    }

    /// Its own children that are daemons of their own, and where they are.
    pub(crate) fn elsewhere(&self) -> BTreeMap<&str, Option<&str>> {
        let first = self.session(SessionId::FIRST).into_iter();
        let spawned = first.flat_map(|session| &session.spawned);
        let elsewhere = spawned
            .filter_map(|(id, spawned)| Some((&**id, spawned.abroad.as_ref()?.address.as_deref())));
        elsewhere.collect()
    }

    /// The children that are to be born, with what they are to know.
    #[must_use]
    pub fn unborn(&self) -> Vec<Unborn> {
        let mut unborn = Vec::new();
        for session in self.sessions.values().flatten() {
            for (id, spawned) in &session.spawned {
                let Some(abroad) = &spawned.abroad else { continue };
                let chart = session.chart.child(&abroad.chart);
                let (None, false, Some(chart)) = (&abroad.address, abroad.token.is_empty(), chart)
                else {
                    continue;
                };
                let above = Above {
                    parent: format!("daemon:{}", self.name).into(),
                    session: session.id,
                    number: abroad.number,
                    token: Arc::clone(&abroad.token),
                    id: Arc::clone(id),
                    supervised: spawned.supervise.is_some(),
                    on: Some(Arc::clone(&abroad.on)),
                    standing: Kinship::Newborn,
                };
                let (definition, given) = (chart.shared_definition(), abroad.given.clone());
                unborn.push(Unborn { above, definition, given });
            }
        }
        unborn
    }

    /// Takes a letter that `from` sent.
    ///
    /// # Errors
    ///
    /// [`Stranger`]; nothing has changed then.
    pub(crate) fn heed(
        &mut self,
        from: &str,
        kin: Kin,
        now: Time,
    ) -> Result<Vec<Effect>, Stranger> {
        match kin.word {
            KinWord::Born { token } => Ok(self.born(from, kin.session, kin.number, &token)),
            KinWord::Says(_) | KinWord::Failed(_) | KinWord::Done { .. } => {
                let Some(id) = self.child_at(from, kin.session, kin.number) else {
                    return if self.spawned_ever(kin.session, kin.number) {
                        Ok(Vec::new())
                    } else {
                        Err(Stranger)
                    };
                };
                Ok(self.heed_child(kin.session, &id, kin.word, now))
            }
            KinWord::Lost { send_id } => {
                let session = match self.child_at(from, kin.session, kin.number) {
                    Some(_) => kin.session,
                    None if self.is_parent(from, kin.session, kin.number) => SessionId::FIRST,
                    None => return Err(Stranger),
                };
                if let Some(session) = self.session_mut(session) {
                    let why = Value::text("its mailbox is full");
                    session.fail("error.communication", why, send_id);
                    session.wake();
                }
                Ok(Vec::new())
            }
            KinWord::Begin
            | KinWord::Dismiss
            | KinWord::Hear(_)
            | KinWord::Again { .. }
            | KinWord::Stop => {
                if !self.is_parent(from, kin.session, kin.number) {
                    return Err(Stranger);
                }
                Ok(self.heed_parent(kin.word, now))
            }
        }
    }

    fn is_parent(&self, from: &str, session: SessionId, number: u64) -> bool {
        self.above.as_ref().is_some_and(|above| {
            *above.parent == *from && above.session == session && above.number == number
        })
    }

    /// Whether a spawn of this number was ever made: what is said of one that is over is late.
    fn spawned_ever(&self, session: SessionId, number: u64) -> bool {
        match self.session(session) {
            Some(session) => number <= session.next_id,
            None => session.get() < self.next_session,
        }
    }

    fn child_at(&self, from: &str, session: SessionId, number: u64) -> Option<Arc<str>> {
        let mut spawned = self.session(session)?.spawned.iter();
        let found = spawned.find(|(_, spawned)| {
            spawned.abroad.as_ref().is_some_and(|abroad| {
                abroad.number == number && abroad.address.as_deref() == Some(from)
            })
        });
        found.map(|(id, _)| Arc::clone(id))
    }

    /// The first newborn of a spawn is the child; any other is one too many.
    fn born(&mut self, from: &str, id: SessionId, number: u64, token: &str) -> Vec<Effect> {
        let letter = |word| Effect::Kin {
            to: from.into(),
            kin: Box::new(Kin { session: id, number, word }),
        };
        let spawned = self.session(id).into_iter().flat_map(|session| &session.spawned);
        let found = spawned.into_iter().find_map(|(id, spawned)| {
            let abroad = spawned.abroad.as_ref()?;
            let meant = abroad.number == number && *abroad.token == *token && !token.is_empty();
            meant.then(|| (Arc::clone(id), spawned.clone()))
        });
        let Some((name, mut spawned)) = found else { return vec![letter(KinWord::Dismiss)] };
        let Some(abroad) = &mut spawned.abroad else { return Vec::new() };
        match abroad.address.as_deref() {
            Some(known) if known == from => return Vec::new(),
            Some(_) => return vec![letter(KinWord::Dismiss)],
            None => {}
        }
        abroad.address = Some(from.into());
        let mail = std::mem::take(&mut abroad.mail);
        let mut effects = vec![letter(KinWord::Begin)];
        effects.extend(mail.into_iter().map(|event| letter(KinWord::Hear(Box::new(event)))));
        if let Some(session) = self.session_mut(id) {
            session.set_spawned(name, spawned);
        }
        effects
    }

    fn heed_child(
        &mut self,
        parent: SessionId,
        id: &Arc<str>,
        word: KinWord,
        now: Time,
    ) -> Vec<Effect> {
        match word {
            KinWord::Says(mut event) => {
                event.kind = EventKind::External;
                event.invoke_id = Some(Arc::clone(id));
                event.origin = Some(format!("#_{id}").into());
                let send_id = event.send_id.clone();
                let reached = self.session_mut(parent);
                let reached = reached.filter(|session| {
                    session.external.len() < session.mailbox && session.phase != Phase::Finished
                });
                match reached {
                    Some(session) => session.post(Arc::from(event)),
                    None => {
                        let abroad = self.abroad(parent, id);
                        return abroad
                            .and_then(|abroad| abroad.letter(parent, KinWord::Lost { send_id }))
                            .into_iter()
                            .collect();
                    }
                }
            }
            KinWord::Failed(why) => return self.child_failed(parent, id, &why, now),
            KinWord::Done { data } => {
                let name = format!("done.invoke.{id}").into();
                let mut event = Event::of(EventKind::External, name, data);
                event.invoke_id = Some(Arc::clone(id));
                if let Some(session) = self.session_mut(parent) {
                    session.forget_spawned(id);
                    session.post(Arc::new(event));
                }
            }
            KinWord::Born { .. }
            | KinWord::Begin
            | KinWord::Dismiss
            | KinWord::Hear(_)
            | KinWord::Again { .. }
            | KinWord::Stop
            | KinWord::Lost { .. } => {}
        }
        Vec::new()
    }

    fn heed_parent(&mut self, word: KinWord, now: Time) -> Vec<Effect> {
        if self.is_done() {
            return Vec::new();
        }
        match word {
            KinWord::Begin => {
                self.stand(Kinship::Running);
                if let Some(session) = self.session_mut(SessionId::FIRST) {
                    session.sleep_until(None);
                }
                Vec::new()
            }
            KinWord::Hear(event) => {
                let send_id = event.send_id.clone();
                let reached = self.session_mut(SessionId::FIRST);
                match reached.filter(|session| session.external.len() < session.mailbox) {
                    Some(session) => {
                        session.post(Arc::from(event));
                        Vec::new()
                    }
                    None => self.to_parent(KinWord::Lost { send_id }).into_iter().collect(),
                }
            }
            KinWord::Again { after_nanos } => {
                self.stand(Kinship::Running);
                let after = Duration::from_nanos(after_nanos);
                self.begin_again(SessionId::FIRST, Vec::new(), after, now)
            }
            KinWord::Stop | KinWord::Dismiss => {
                self.stand(Kinship::Dismissed);
                self.with(SessionId::FIRST, now, |session, desk| {
                    leave_all(session, desk);
                    let state = session.state_mut();
                    state.sleeps_until = None;
                    state.timers.clear();
                    state.internal.clear();
                    state.external.clear();
                    session.set_phase(Phase::Finished);
                })
            }
            KinWord::Born { .. }
            | KinWord::Says(_)
            | KinWord::Failed(_)
            | KinWord::Done { .. }
            | KinWord::Lost { .. } => Vec::new(),
        }
    }

    /// Its own chart failed, and its parent says what to that.
    pub(super) fn hold(&mut self, why: &Event) -> Vec<Effect> {
        if !self.above.as_ref().is_some_and(|above| above.supervised) {
            return Vec::new();
        }
        self.stand(Kinship::Failed);
        if let Some(session) = self.session_mut(SessionId::FIRST) {
            session.sleep_until(Some(NEVER));
        }
        self.to_parent(KinWord::Failed(Box::new(why.clone()))).into_iter().collect()
    }

    pub(super) fn abroad(&self, parent: SessionId, id: &str) -> Option<&Abroad> {
        self.session(parent)?.spawned.get(id)?.abroad.as_ref()
    }
}

impl Abroad {
    /// A letter to the child; none as long as nobody knows where it is.
    pub(super) fn letter(&self, parent: SessionId, word: KinWord) -> Option<Effect> {
        let to = Arc::clone(self.address.as_ref()?);
        let kin = Kin { session: parent, number: self.number, word };
        Some(Effect::Kin { to, kin: Box::new(kin) })
    }
}

impl Session {
    /// Sends an event to a child that is a daemon of its own, or keeps it until that is born.
    pub(super) fn send_abroad(
        &mut self,
        id: &Arc<str>,
        mut event: Event,
    ) -> Result<Option<Effect>, Fault> {
        let Some(mut spawned) = self.spawned.get(id).cloned() else { return Ok(None) };
        let (room, parent) = (self.room, self.id);
        let Some(abroad) = &mut spawned.abroad else { return Ok(None) };
        // An answer goes to the parent, by that name.
        event.origin = Some("#_parent".into());
        if abroad.address.is_some() {
            return Ok(abroad.letter(parent, KinWord::Hear(Box::new(event))));
        }
        let most = spawned.mailbox.map_or(room, |mailbox| (mailbox as usize).min(room));
        if abroad.mail.len() >= most {
            return Err(Fault::new("its mailbox is full"));
        }
        abroad.mail.push(event);
        self.set_spawned(Arc::clone(id), spawned);
        Ok(None)
    }
}
