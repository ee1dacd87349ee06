//! Decides how a plan is written: TOML, its names and units.

use serde::Deserialize;
use toml::Spanned;

use super::error::{PlanError, Problem};
use super::plan::{
    AT_ONCE, DAEMONS_MAX, Expect, Group, Line, Manner, NODES_MAX, Overrides, Plan, RATE_MAX,
    SECONDS_MAX, STATES_MIB_MAX, Step, TRIES, Verb, What,
};
use crate::cluster::SECOND;
use crate::scribe::Style;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanForm {
    title: Option<String>,
    nodes: Option<Spanned<u64>>,
    seconds: Option<Spanned<u64>>,
    seed: Option<u64>,
    #[serde(default)]
    daemons: Vec<GroupForm>,
    network: Option<NetworkForm>,
    disk: Option<DiskForm>,
    #[serde(default)]
    step: Vec<StepForm>,
    expect: Option<ExpectForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupForm {
    name: Option<Spanned<String>>,
    count: Spanned<u64>,
    kind: Option<Spanned<String>>,
    catch_up: Option<Spanned<String>>,
    state: Option<Spanned<String>>,
    events_per_second: Option<Spanned<u64>>,
    on: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NetworkForm {
    delay: Option<Spanned<String>>,
    loss: Option<Spanned<f64>>,
    duplicate: Option<Spanned<f64>>,
    megabits_per_second: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskForm {
    commit: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectForm {
    pause_max: Option<Spanned<String>>,
    not_moved_max: Option<u64>,
    unserved_max: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepForm {
    at: Spanned<String>,
    #[serde(rename = "do")]
    verb: Spanned<String>,
    node: Option<Spanned<String>>,
    nodes: Option<Spanned<Vec<Spanned<String>>>>,
    along: Option<Spanned<Vec<Spanned<String>>>>,
    daemons: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
    at_once: Option<Spanned<u64>>,
    tries: Option<Spanned<u64>>,
    asked_at: Option<Spanned<String>>,
    freeze_and_copy: Option<Spanned<bool>>,
    deadline: Option<Spanned<String>>,
    every: Option<Spanned<String>>,
    times: Option<Spanned<u64>>,
    down: Option<Spanned<String>>,
    #[serde(rename = "for")]
    rest: Option<Spanned<String>>,
    one_way: Option<Spanned<bool>>,
    factor: Option<Spanned<u64>>,
    loss: Option<Spanned<f64>>,
    duplicate: Option<Spanned<f64>>,
    late: Option<Spanned<f64>>,
    by: Option<Spanned<String>>,
}

type Result<T, E = PlanError> = std::result::Result<T, E>;

/// Reads a plan; what is said beside it goes first.
pub(super) fn read(text: &str, overrides: Overrides) -> Result<Plan> {
    let form: PlanForm = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        PlanError { line: line_of(text, at), problem: Problem::Syntax(error.message().to_owned()) }
    })?;
    Reader { text, nodes: 0, names: Vec::new() }.plan(form, overrides)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    nodes: usize,
    /// The names of groups, and which daemons they are.
    names: Vec<(String, std::ops::Range<usize>)>,
}

impl Reader<'_> {
    fn plan(mut self, form: PlanForm, overrides: Overrides) -> Result<Plan> {
        let nodes = match (overrides.nodes, &form.nodes) {
            (Some(nodes), _) => self.within("nodes", nodes, 0, 2, NODES_MAX)?,
            (None, Some(nodes)) => self.bounded("nodes", nodes, 2, NODES_MAX)?,
            (None, None) => 3,
        };
        self.nodes = usize::try_from(nodes).unwrap_or(2);
        let seconds = form
            .seconds
            .as_ref()
            .map_or(Ok(30), |seconds| self.bounded("seconds", seconds, 1, SECONDS_MAX))?;
        let groups = self.groups(&form.daemons, overrides.daemons)?;
        let network = self.network(form.network.as_ref())?;
        let commit = form.disk.and_then(|disk| disk.commit);
        let commit =
            commit.map_or(Ok((200_000, 4_000_000)), |commit| self.range("commit", &commit))?;
        let expect = match &form.expect {
            Some(expect) => Expect {
                pause_max: self.maybe_time("pause_max", expect.pause_max.as_ref())?,
                not_moved_max: expect.not_moved_max,
                unserved_max: expect.unserved_max,
            },
            None => Expect::default(),
        };
        let steps = form.step.iter().map(|step| self.step(step)).collect::<Result<Vec<Step>>>()?;
        Ok(Plan {
            title: form.title.unwrap_or_else(|| "A plan without a title".to_owned()),
            nodes: self.nodes,
            seed: overrides.seed.or(form.seed).unwrap_or(1),
            length: seconds * SECOND,
            groups,
            network,
            commit,
            steps,
            expect,
            text: self.text.to_owned(),
            overrides,
        })
    }

    fn groups(&mut self, forms: &[GroupForm], wanted: Option<u64>) -> Result<Vec<Group>> {
        let counts = forms
            .iter()
            .map(|form| self.bounded("count", &form.count, 1, DAEMONS_MAX))
            .collect::<Result<Vec<u64>>>()?;
        let all: u64 = counts.iter().sum();
        let wanted = wanted.map(|wanted| self.within("--daemons", wanted, 0, 1, DAEMONS_MAX));
        let wanted = wanted.transpose()?;
        let last = forms.last().ok_or_else(|| self.error(0, Problem::NoDaemons))?;
        self.within("count", all, last.count.span().start, 1, DAEMONS_MAX)?;
        let mut groups = Vec::new();
        let (mut before, mut born) = (0, 0);
        for (form, count) in forms.iter().zip(counts) {
            // Shares are rounded so that they add up.
            let (from, to) = (before, before + count);
            before = to;
            let count = wanted.map_or(count, |wanted| wanted * to / all - wanted * from / all);
            let count = usize::try_from(count).unwrap_or(0);
            let mut group = self.group(form, groups.len())?;
            group.count = count;
            self.name(form, &group.name, born..born + count)?;
            born += count;
            groups.push(group);
        }
        let bytes: u64 = groups.iter().map(|group| group.count as u64 * group.state).sum();
        let mib = bytes >> 20;
        if mib > STATES_MIB_MAX {
            return Err(self.error(last.count.span().start, Problem::TooLarge(mib)));
        }
        Ok(groups)
    }

    fn name(&mut self, form: &GroupForm, name: &str, range: std::ops::Range<usize>) -> Result<()> {
        if self.names.iter().any(|(known, _)| known == name) || name == "all" {
            let at = form.name.as_ref().map_or(0, |name| name.span().start);
            return Err(self.error(at, Problem::NameTaken(name.to_owned())));
        }
        self.names.push((name.to_owned(), range));
        Ok(())
    }

    fn group(&self, form: &GroupForm, index: usize) -> Result<Group> {
        let kind = form.kind.as_ref().map_or("scribe", |kind| kind.get_ref().as_str());
        let way = form.catch_up.as_ref().map(|way| way.get_ref().as_str());
        let style = match (kind, way) {
            ("scribe", None | Some("replay")) => Style::Replays,
            ("scribe", Some("deltas")) => Style::Deltas,
            ("scribe", Some("freeze-and-copy")) => Style::Freezes,
            ("kv", None | Some("replay")) => Style::Kv,
            ("tally", None | Some("replay")) => Style::Tally,
            ("scribe" | "kv" | "tally", Some(way)) => {
                let kind = match kind {
                    "kv" => "kv",
                    "tally" => "tally",
                    _ => "scribe",
                };
                let at = form.catch_up.as_ref().map_or(0, |way| way.span().start);
                return Err(self.error(at, Problem::NoWay { kind, way: way.to_owned() }));
            }
            (other, _) => {
                let at = form.kind.as_ref().map_or(0, |kind| kind.span().start);
                return Err(self.error(at, Problem::NoKind(other.to_owned())));
            }
        };
        let state = form.state.as_ref().map_or(Ok(0), |state| self.size("state", state))?;
        if let Some(said) = form.state.as_ref().filter(|_| state > 0 && style == Style::Tally) {
            return Err(self.error(said.span().start, Problem::NoState));
        }
        let rate = form.events_per_second.as_ref();
        let rate =
            rate.map_or(Ok(10), |rate| self.bounded("events_per_second", rate, 0, RATE_MAX))?;
        let on = match &form.on {
            Some(names) if !names.is_empty() => self.all_nodes(names)?,
            Some(_) | None => (0..self.nodes).collect(),
        };
        let name = form.name.as_ref().map(|name| name.get_ref().clone());
        let name = name.unwrap_or_else(|| format!("group-{}", index + 1));
        Ok(Group { name, count: 0, style, state, rate, on })
    }

    fn network(&self, form: Option<&NetworkForm>) -> Result<Line> {
        let mut line = Line { delay: (300_000, 900_000), loss: 0, twice: 0, rate: None };
        let Some(form) = form else { return Ok(line) };
        if let Some(delay) = &form.delay {
            line.delay = self.range("delay", delay)?;
        }
        line.loss = self.share("loss", form.loss.as_ref())?;
        line.twice = self.share("duplicate", form.duplicate.as_ref())?;
        if let Some(rate) = &form.megabits_per_second {
            let megabits = self.bounded("megabits_per_second", rate, 1, 400_000)?;
            line.rate = Some(megabits * 1_000_000 / 8);
        }
        Ok(line)
    }

    fn step(&self, form: &StepForm) -> Result<Step> {
        let word = form.verb.get_ref();
        let verb = Verb::ALL.into_iter().find(|verb| verb.name() == word);
        let verb = verb.ok_or_else(|| {
            self.error(form.verb.span().start, Problem::UnknownStep(word.clone()))
        })?;
        for (field, at) in form.given() {
            if !verb.fields().contains(&field) {
                let problem = Problem::Misplaced { verb: verb.name(), field };
                return Err(self.error(at, problem));
            }
        }
        let at = self.time("at", &form.at)?;
        let what = self.what(verb, form)?;
        Ok(Step { at, name: name_of(verb, form), what })
    }

    fn what(&self, verb: Verb, form: &StepForm) -> Result<What> {
        let given = Given { reader: self, verb, form };
        let to = form.to.as_ref().map(|to| self.node(to)).transpose()?;
        let manner = self.manner(form)?;
        Ok(match verb {
            Verb::Drain => {
                let deadline = self.maybe_time("deadline", form.deadline.as_ref())?;
                What::Drain { node: given.node()?, to, manner, deadline }
            }
            Verb::Move => {
                let to = to.ok_or_else(|| given.lacks("to"))?;
                What::Move { daemons: given.daemons()?, to, manner }
            }
            Verb::Spread => What::Spread { node: given.node()?, manner },
            Verb::Follow => {
                let times = form.times.as_ref().ok_or_else(|| given.lacks("times"))?;
                What::Follow {
                    daemons: given.daemons()?,
                    along: given.nodes("along", form.along.as_ref())?,
                    every: given.time("every", form.every.as_ref())?,
                    times: self.bounded("times", times, 1, 100_000)?,
                }
            }
            Verb::RollingRestart => {
                let nodes = match &form.nodes {
                    Some(nodes) => given.nodes("nodes", Some(nodes))?,
                    None => (0..self.nodes).collect(),
                };
                What::RollingRestart {
                    nodes,
                    down: given.time("down", form.down.as_ref())?,
                    manner,
                }
            }
            Verb::Restart => {
                What::Restart { node: given.node()?, down: given.time("down", form.down.as_ref())? }
            }
            Verb::Cancel => What::Cancel { daemons: given.daemons()? },
            Verb::Crash
            | Verb::Partition
            | Verb::Slow
            | Verb::Pause
            | Verb::Flaky
            | Verb::FullDisk
            | Verb::ClockJump => return self.fault(&given),
        })
    }

    fn fault(&self, given: &Given<'_>) -> Result<What> {
        let form = given.form;
        let rest = || given.time("for", form.rest.as_ref());
        Ok(match given.verb {
            Verb::Partition => What::Partition {
                nodes: given.nodes("nodes", form.nodes.as_ref())?,
                one_way: form.one_way.as_ref().is_some_and(|one_way| *one_way.get_ref()),
                rest: rest()?,
            },
            Verb::Slow => {
                let factor = form.factor.as_ref().ok_or_else(|| given.lacks("factor"))?;
                let factor = self.bounded("factor", factor, 1, 1000)?;
                What::Slow { node: given.node()?, factor, rest: rest()? }
            }
            Verb::Pause => What::Pause { node: given.node()?, rest: rest()? },
            Verb::Flaky => What::Flaky {
                loss: self.share("loss", form.loss.as_ref())?,
                twice: self.share("duplicate", form.duplicate.as_ref())?,
                late: self.share("late", form.late.as_ref())?,
                rest: rest()?,
            },
            Verb::FullDisk => What::FullDisk { node: given.node()?, rest: rest()? },
            Verb::ClockJump => {
                What::ClockJump { node: given.node()?, by: given.time("by", form.by.as_ref())? }
            }
            Verb::Crash
            | Verb::Drain
            | Verb::Move
            | Verb::Spread
            | Verb::Follow
            | Verb::RollingRestart
            | Verb::Restart
            | Verb::Cancel => {
                let down = self.maybe_time("for", form.rest.as_ref())?;
                What::Crash { node: given.node()?, down }
            }
        })
    }

    fn manner(&self, form: &StepForm) -> Result<Manner> {
        let at_once = form.at_once.as_ref();
        let at_once =
            at_once.map_or(Ok(AT_ONCE as u64), |at| self.bounded("at_once", at, 1, 1000))?;
        let tries = form.tries.as_ref();
        let tries = tries.map(|tries| self.bounded("tries", tries, 1, 100)).transpose()?;
        let tries = tries.unwrap_or_else(|| TRIES.into());
        Ok(Manner {
            at_once: usize::try_from(at_once).unwrap_or(1),
            tries: u32::try_from(tries).unwrap_or(1),
            freeze_and_copy: form.freeze_and_copy.as_ref().is_some_and(|copy| *copy.get_ref()),
            asked_at: form.asked_at.as_ref().map(|node| self.node(node)).transpose()?,
        })
    }

    fn node(&self, name: &Spanned<String>) -> Result<usize> {
        let index = match name.get_ref().as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
            _ => None,
        };
        index.filter(|index| *index < self.nodes).ok_or_else(|| {
            let last = char::from(b'A' + u8::try_from(self.nodes.saturating_sub(1)).unwrap_or(0));
            let name_said = name.get_ref().clone();
            let problem = Problem::NoSuchNode { name: name_said, nodes: self.nodes, last };
            self.error(name.span().start, problem)
        })
    }

    fn all_nodes(&self, names: &[Spanned<String>]) -> Result<Vec<usize>> {
        names.iter().map(|name| self.node(name)).collect()
    }

    fn daemons(&self, name: &Spanned<String>) -> Result<Vec<usize>> {
        let word = name.get_ref().as_str();
        let all = self.names.last().map_or(0, |(_, range)| range.end);
        if word == "all" {
            return Ok((0..all).collect());
        }
        if let Some((_, range)) = self.names.iter().find(|(known, _)| known == word) {
            return Ok(range.clone().collect());
        }
        let index = word.strip_prefix('D').and_then(|number| number.parse::<usize>().ok());
        match index.filter(|index| *index < all) {
            Some(index) => Ok(vec![index]),
            None => Err(self.error(name.span().start, Problem::NoSuchDaemons(word.to_owned()))),
        }
    }

    fn bounded(&self, field: &'static str, n: &Spanned<u64>, low: u64, high: u64) -> Result<u64> {
        self.within(field, *n.get_ref(), n.span().start, low, high)
    }

    fn within(&self, field: &'static str, n: u64, at: usize, low: u64, high: u64) -> Result<u64> {
        if (low..=high).contains(&n) {
            return Ok(n);
        }
        let (found, low, high) = (n.to_string(), low.to_string(), high.to_string());
        Err(self.error(at, Problem::OutOfBounds { field, found, low, high }))
    }

    /// A share of one, in thousandths.
    fn share(&self, field: &'static str, share: Option<&Spanned<f64>>) -> Result<u64> {
        let Some(share) = share else { return Ok(0) };
        let said = *share.get_ref();
        if !(0.0..=0.9).contains(&said) {
            let (low, high) = ("0".to_owned(), "0.9".to_owned());
            let problem = Problem::OutOfBounds { field, found: said.to_string(), low, high };
            return Err(self.error(share.span().start, problem));
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and 900"
        )]
        let thousandths = (said * 1000.0).round() as u64;
        Ok(thousandths)
    }

    fn maybe_time(
        &self,
        field: &'static str,
        text: Option<&Spanned<String>>,
    ) -> Result<Option<u64>> {
        text.map(|text| self.time(field, text)).transpose()
    }

    fn time(&self, field: &'static str, text: &Spanned<String>) -> Result<u64> {
        let at = text.span().start;
        let nanos = nanos(text.get_ref()).ok_or_else(|| {
            self.error(at, Problem::NoTime { field, found: text.get_ref().clone() })
        })?;
        if nanos > SECONDS_MAX * SECOND {
            let (found, high) = (text.get_ref().clone(), format!("{SECONDS_MAX}s"));
            let problem = Problem::OutOfBounds { field, found, low: "0s".to_owned(), high };
            return Err(self.error(at, problem));
        }
        Ok(nanos)
    }

    fn range(&self, field: &'static str, text: &Spanned<String>) -> Result<(u64, u64)> {
        let both = text.get_ref().split_once("..");
        let both = both.and_then(|(low, high)| Some((nanos(low)?, nanos(high)?)));
        both.filter(|(low, high)| low <= high && *high <= 10 * SECOND).ok_or_else(|| {
            let found = text.get_ref().clone();
            self.error(text.span().start, Problem::NoRange { field, found })
        })
    }

    fn size(&self, field: &'static str, text: &Spanned<String>) -> Result<u64> {
        bytes(text.get_ref()).ok_or_else(|| {
            let found = text.get_ref().clone();
            self.error(text.span().start, Problem::NoSize { field, found })
        })
    }

    fn error(&self, at: usize, problem: Problem) -> PlanError {
        PlanError { line: line_of(self.text, at), problem }
    }
}

/// One step as it was written, and what it must have.
struct Given<'a> {
    reader: &'a Reader<'a>,
    verb: Verb,
    form: &'a StepForm,
}

impl Given<'_> {
    fn lacks(&self, field: &'static str) -> PlanError {
        let problem = Problem::Missing { verb: self.verb.name(), field };
        self.reader.error(self.form.verb.span().start, problem)
    }

    fn node(&self) -> Result<usize> {
        let name = self.form.node.as_ref().ok_or_else(|| self.lacks("node"))?;
        self.reader.node(name)
    }

    fn daemons(&self) -> Result<Vec<usize>> {
        let name = self.form.daemons.as_ref().ok_or_else(|| self.lacks("daemons"))?;
        self.reader.daemons(name)
    }

    fn nodes(
        &self,
        field: &'static str,
        names: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Vec<usize>> {
        let names = names.filter(|names| !names.get_ref().is_empty());
        self.reader.all_nodes(names.ok_or_else(|| self.lacks(field))?.get_ref())
    }

    fn time(&self, field: &'static str, text: Option<&Spanned<String>>) -> Result<u64> {
        self.reader.time(field, text.ok_or_else(|| self.lacks(field))?)
    }
}

impl StepForm {
    /// What it has beside `at` and `do`, and where.
    fn given(&self) -> Vec<(&'static str, usize)> {
        fn at<T>(field: &Option<Spanned<T>>) -> Option<usize> {
            field.as_ref().map(|field| field.span().start)
        }
        let fields = [
            ("node", at(&self.node)),
            ("nodes", at(&self.nodes)),
            ("along", at(&self.along)),
            ("daemons", at(&self.daemons)),
            ("to", at(&self.to)),
            ("at_once", at(&self.at_once)),
            ("tries", at(&self.tries)),
            ("asked_at", at(&self.asked_at)),
            ("freeze_and_copy", at(&self.freeze_and_copy)),
            ("deadline", at(&self.deadline)),
            ("every", at(&self.every)),
            ("times", at(&self.times)),
            ("down", at(&self.down)),
            ("for", at(&self.rest)),
            ("one_way", at(&self.one_way)),
            ("factor", at(&self.factor)),
            ("loss", at(&self.loss)),
            ("duplicate", at(&self.duplicate)),
            ("late", at(&self.late)),
            ("by", at(&self.by)),
        ];
        fields.into_iter().filter_map(|(name, at)| Some((name, at?))).collect()
    }
}

/// What the report calls a step: what it does, and to whom.
fn name_of(verb: Verb, form: &StepForm) -> String {
    let mut name = verb.name().to_owned();
    let whom = [&form.daemons, &form.node];
    for word in whom.into_iter().flatten() {
        name.push(' ');
        name.push_str(word.get_ref());
    }
    for names in [&form.nodes, &form.along].into_iter().flatten() {
        let names: Vec<&str> = names.get_ref().iter().map(|name| name.get_ref().as_str()).collect();
        name.push(' ');
        name.push_str(&names.join(","));
    }
    if let Some(to) = &form.to {
        name.push_str(" to ");
        name.push_str(to.get_ref());
    }
    name
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

/// `300us`, `20ms`, `5s`, `2m`, `1h`.
fn nanos(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let unit = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// `1000`, `64KiB`, `4MiB`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= STATES_MIB_MAX << 20)
}
